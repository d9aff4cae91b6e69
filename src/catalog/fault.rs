//! Schema errors in our own wording. They must not contain a value of the event: it may be a phone number.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use crate::event::Fault;

use super::pointer::escape;

/// Where `data` is in the event.
const DATA: &str = "/data";

pub(super) fn fault(error: &ValidationError<'_>) -> Fault {
    let place = format!("{DATA}{}", error.instance_path().as_str());
    match error.kind() {
        // The pointer names the missing member, so that it can be looked up and counted by location.
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

/// The names, where each alternative fails only because one member is missing. A null member counts as missing.
fn missing_alternatives(context: &[Vec<ValidationError<'_>>]) -> Option<Vec<String>> {
    context
        .iter()
        .map(|errors| {
            let [only] = errors.as_slice() else {
                return None;
            };
            match only.kind() {
                ValidationErrorKind::Required { property } => Some(property.to_string()),
                ValidationErrorKind::Type { .. } if only.instance().is_null() => {
                    let (_, name) = only.instance_path().as_str().rsplit_once('/')?;
                    Some(format!("{name:?}"))
                }
                _ => None,
            }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, data: &Value, expected: &[(&str, &str)]) {
        let validator = jsonschema::draft202012::new(schema).unwrap();
        let faults: Vec<Fault> = validator
            .iter_errors(data)
            .map(|error| fault(&error))
            .collect();
        let expected: Vec<Fault> = expected
            .iter()
            .map(|(pointer, message)| Fault::new(*pointer, *message))
            .collect();
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_missing_member_is_named_where_it_should_be() {
        check(
            &json!({"properties": {"a": {"required": ["b/c"]}}}),
            &json!({"a": {}}),
            &[("/data/a/b~1c", r#"required member "b/c" is missing"#)],
        );
    }

    #[test]
    fn a_wrong_type_says_what_it_must_be_and_what_it_is() {
        check(
            &json!({"items": {"type": ["string", "null"]}}),
            &json!([null, true]),
            &[("/data/1", "must be null or string, is boolean")],
        );
        check(
            &json!({"type": "integer"}),
            &json!(1.5),
            &[("/data", "must be integer, is number")],
        );
    }

    #[test]
    fn one_of_several_members_is_asked_for_by_name() {
        let string = json!({"type": "string"});
        let schema = json!({"anyOf": [
            {"required": ["a"], "properties": {"a": string}},
            {"required": ["b"], "properties": {"b": string}},
        ]});
        let message = r#"one of the members "a", "b" is required"#;
        check(&schema, &json!({}), &[("/data", message)]);
        check(&schema, &json!({"a": null}), &[("/data", message)]);
        let message = "fits none of the forms that the schema allows";
        check(&schema, &json!({"a": 5}), &[("/data", message)]);
    }

    #[test]
    fn other_keywords_are_named_without_the_value() {
        check(
            &json!({"enum": ["x"], "maxLength": 3}),
            &json!("+15550100"),
            &[
                ("/data", r#"fails "enum" of the schema"#),
                ("/data", r#"fails "maxLength" of the schema"#),
            ],
        );
    }
}
