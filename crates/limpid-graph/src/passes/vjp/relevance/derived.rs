//! Weights made of a network's weights. Plans are told apart by the identity of
//! their weights, so while one is alive the same weights are handed out again.

use crate::{Constant, TensorSource};
use limpid_tensor::{Shape, TensorError};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How weights are made of others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Recipe {
    /// Those that count as positive times the first, as negative times the second.
    Signed([f32; 2]),
    /// Ones.
    Ones,
}

/// Weights that are computed when they are asked for.
struct Derived {
    weight: Constant,
    /// A factor for each of the weights' rows.
    scale: Option<Constant>,
    recipe: Recipe,
}

/// What has been made and is still in use. It holds nothing alive.
static MADE: Mutex<Vec<Weak<Derived>>> = Mutex::new(Vec::new());

/// The weights of a recipe, a function of the weights and of a factor for each
/// of their rows.
pub(super) fn weights(weight: &Constant, scale: Option<&Constant>, recipe: Recipe) -> Constant {
    let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let address = |c: &Constant| c.address();
    let same = |made: &Arc<Derived>| {
        made.recipe == recipe
            && made.weight.address() == weight.address()
            && made.scale.as_ref().map(address) == scale.map(address)
    };
    let known = all.iter().filter_map(Weak::upgrade).find(same);
    known
        .unwrap_or_else(|| {
            let made = Arc::new(Derived {
                weight: weight.clone(),
                scale: scale.cloned(),
                recipe,
            });
            all.retain(|made| made.strong_count() > 0);
            all.push(Arc::downgrade(&made));
            made
        })
        .into()
}

impl TensorSource for Derived {
    fn shape(&self) -> &Shape {
        self.weight.shape()
    }

    fn read(&self, to: &mut [f32]) -> Result<(), TensorError> {
        let factors = match self.recipe {
            Recipe::Ones => {
                to.fill(1.0);
                return Ok(());
            }
            Recipe::Signed(factors) => factors,
        };
        self.weight.read(to)?;
        let scale = self.scale.as_ref().map(Constant::load).transpose()?;
        let rows = self.shape().first().map_or(1, |d| *d);
        let per_row = to.len() / rows;
        for (i, w) in to.iter_mut().enumerate() {
            let sign = scale.as_ref().map_or(1.0, |s| s.data()[i / per_row]);
            *w *= factors[usize::from(*w * sign < 0.0)];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_tensor::Tensor;

    #[test]
    fn weights_in_use_are_handed_out_again() {
        let source = Constant::from(Tensor::new([2, 2], vec![1.0, -2.0, 3.0, -4.0]).unwrap());
        let scale = Constant::from(Tensor::new([2], vec![1.0, -1.0]).unwrap());
        let made = |scale| weights(&source, scale, Recipe::Signed([1.0, 0.0]));
        let numbers = |made: &Constant| made.load().unwrap().data().to_vec();
        let (plain, scaled) = (made(None), made(Some(&scale)));
        assert_eq!(numbers(&plain), [1.0, 0.0, 3.0, 0.0]);
        assert_eq!(numbers(&scaled), [1.0, 0.0, 0.0, -4.0]);
        assert_eq!(plain.address(), made(None).address());
        assert_eq!(scaled.address(), made(Some(&scale)).address());
        let ones = weights(&source, None, Recipe::Ones);
        assert_eq!(numbers(&ones), [1.0; 4]);
        let gone = plain.downgrade();
        drop(plain);
        assert!(gone.upgrade().is_none());
        assert_eq!(numbers(&made(None)), [1.0, 0.0, 3.0, 0.0]);
    }
}
