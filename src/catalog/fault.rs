//! Schema errors in our words. Nothing here may print a value of the event: it may be somebody's phone number.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use crate::event::Fault;

use super::pointer::escape;

/// Where `data` stands in the event.
const DATA: &str = "/data";

pub(super) fn fault(error: &ValidationError<'_>) -> Fault {
    let place = format!("{DATA}{}", error.instance_path().as_str());
    match error.kind() {
        // The pointer names the member that should be there, so that it can be looked up and counted by place.
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            Fault::new(
                format!("{place}/{}", escape(name)),
                format!("required member {name:?} is missing"),
            )
        }
        ValidationErrorKind::Type { kind } => Fault::new(
            place,
            format!(
                "must be {}, is {}",
                expected(kind),
                type_name(error.instance())
            ),
        ),
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            match missing_alternatives(context) {
                Some(names) => Fault::new(
                    place,
                    format!("one of the members {} is required", names.join(", ")),
                ),
                None => Fault::new(place, "fits none of the forms that the schema allows"),
            }
        }
        other => Fault::new(place, format!("fails {:?} of the schema", other.keyword())),
    }
}

/// The names, where each alternative fails only for want of one member.
fn missing_alternatives(context: &[Vec<ValidationError<'_>>]) -> Option<Vec<String>> {
    context
        .iter()
        .map(|errors| match errors.as_slice() {
            [only] => match only.kind() {
                ValidationErrorKind::Required { property } => Some(property.to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.as_str().to_owned(),
        TypeKind::Multiple(several) => several
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
