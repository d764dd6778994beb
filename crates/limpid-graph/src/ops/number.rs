//! Numbers of attributes that JSON has no notation for.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Finite(f32),
    Other(Other),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Other {
    #[serde(rename = "inf")]
    Infinity,
    #[serde(rename = "-inf")]
    MinusInfinity,
    #[serde(rename = "nan")]
    NotANumber,
}

pub(super) fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    let form = match *value {
        v if v.is_finite() => Form::Finite(v),
        v if v.is_nan() => Form::Other(Other::NotANumber),
        v if v > 0.0 => Form::Other(Other::Infinity),
        _ => Form::Other(Other::MinusInfinity),
    };
    form.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(match Form::deserialize(deserializer)? {
        Form::Finite(v) => v,
        Form::Other(Other::Infinity) => f32::INFINITY,
        Form::Other(Other::MinusInfinity) => f32::NEG_INFINITY,
        Form::Other(Other::NotANumber) => f32::NAN,
    })
}
