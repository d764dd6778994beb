//! Pictures read and decoded one ahead of the computation.

use crate::inputs::Picture;
use limpid::{Image, Input, ModelError, Session};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// What a file holds.
pub(crate) enum Loaded {
    /// A picture.
    Picture(Image),
    /// An array, taken as the normalised input.
    Array(Input),
}

type Item<'a> = (&'a Picture, Result<Loaded, ModelError>);

/// Starts to read the pictures, in their order. The thread ends after the last
/// one, or once the receiver is dropped.
pub(crate) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    pictures: &'env [Picture],
) -> Receiver<Item<'env>> {
    // Without room in the channel at most one decoded picture waits.
    let (sender, receiver) = sync_channel(0);
    scope.spawn(move || read(pictures, &sender));
    receiver
}

fn read<'env>(pictures: &'env [Picture], sender: &SyncSender<Item<'env>>) {
    for picture in pictures {
        if sender.send((picture, load(picture))).is_err() {
            return;
        }
    }
}

/// Reads one picture.
pub(crate) fn load(picture: &Picture) -> Result<Loaded, ModelError> {
    if picture.is_array() {
        Input::from_npy(&picture.path).map(Loaded::Array)
    } else {
        Image::open(&picture.path).map(Loaded::Picture)
    }
}

/// The model's input of what was loaded. The session checks the shape of an
/// array.
pub(crate) fn input(session: &Session, loaded: &Loaded) -> anyhow::Result<Input> {
    match loaded {
        Loaded::Picture(image) => Ok(session.input(image)?),
        Loaded::Array(input) => Ok(input.clone()),
    }
}

/// The picture that the model saw, without what was cropped away.
pub(crate) fn seen(session: &Session, loaded: &Loaded, input: &Input) -> anyhow::Result<Image> {
    match (input.rgb8(), input.tensor().dims()) {
        (Some(pixels), &[_, height, width]) => {
            let image = Image::from_rgb8(width as u32, height as u32, pixels.to_vec());
            Ok(image.map_err(limpid::Error::from)?)
        }
        _ => drawable(session, loaded),
    }
}

/// The picture that a map is drawn on: the original, or what an array stands
/// for.
pub(crate) fn drawable(session: &Session, loaded: &Loaded) -> anyhow::Result<Image> {
    let input = match loaded {
        Loaded::Picture(image) => return Ok(image.clone()),
        Loaded::Array(input) => input,
    };
    let pixels = session.model().preprocess().denormalize(input.tensor());
    let Some((pixels, &[_, height, width])) = pixels.zip(input.tensor().dims().first_chunk())
    else {
        let path = input.path().map(|p| p.display().to_string());
        return Err(limpid::Error::NoPicture(path.unwrap_or_default()).into());
    };
    let image = Image::from_rgb8(width as u32, height as u32, pixels);
    Ok(image.map_err(limpid::Error::from)?)
}
