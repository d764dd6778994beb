//! Draws what several models look at in one picture, side by side, by Grad-CAM
//! and by smoothed Blur Integrated Gradients.
//!
//! `cargo run --release -p limpid --example side_by_side -- PICTURE LABEL OUT MODEL...`
//!
//! writes OUT.grad-cam.png and OUT.blur-ig.png. Colours have a scale of their own
//! in each panel, as the models' scores have; maps of single pixels are drawn
//! smoothed by 2 pixels.
#![allow(clippy::print_stdout)]

mod panels;

use limpid::render::{encode_png, write_atomic};
use limpid::{
    BlurIntegratedGradients, Device, Explainer, GradCam, GradientMethod, Image, Model, SmoothGrad,
    Target,
};
use panels::Style;
use std::error::Error;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: side_by_side PICTURE LABEL OUT MODEL...";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [picture, label, out, models @ ..] = &arguments[..] else {
        return Err(USAGE.into());
    };
    if models.is_empty() {
        return Err(USAGE.into());
    }
    let image = Image::open(picture)?;
    let sessions = models
        .iter()
        .map(|m| Model::open(m)?.session(Device::auto()?))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let blur = BlurIntegratedGradients::new().smoothed(SmoothGrad::new());
    let methods: [&dyn Explainer; 2] = [&GradCam::new(), &blur];
    for method in methods {
        let mut row = Vec::new();
        for (session, model) in sessions.iter().zip(models) {
            let target = Target::Label(label.clone());
            let name = Path::new(model).file_name().unwrap_or_default();
            for map in session.explain(&image, method, target)? {
                let manifest = map.manifest();
                let style = Style {
                    title: &format!(
                        "{}: {} {:.1} %",
                        name.to_string_lossy(),
                        map.label(),
                        100.0 * manifest.probability
                    ),
                    subtitle: &manifest.method,
                    side: 2048,
                    sigma: 2.0,
                };
                row.push(panels::panel(&image, &map, &style)?);
            }
        }
        let file = format!("{out}.{}.png", method.id());
        write_atomic(Path::new(&file), &encode_png(&panels::grid(&[row]))?)?;
        println!("{file}");
    }
    Ok(())
}
