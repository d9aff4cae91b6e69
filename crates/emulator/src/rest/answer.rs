//! What a request is answered, in the form of its generation.

use actix_web::{HttpResponse, http::StatusCode};
use serde_json::{Value, json};

use crate::fault::Fault;

/// Status and body, kept for repeated requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `None`: the operation's answer has no body.
    pub(super) body: Option<Value>,
}

impl Answer {
    pub(super) fn with(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
        }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, body: None }
    }

    /// The response that carries it.
    pub(super) fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        match &self.body {
            // The clients of the service decode a body only where the type says JSON.
            Some(body) => response.json(body),
            None => response.finish(),
        }
    }
}

/// How an error body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Private preview: `{code, message}`.
    Bare,
    /// 2021-06-15: its early text has the bare members, its later one `error`. Clients ignore members that they do not
    /// know, so both are there.
    BareAndWrapped,
    /// 2021-08-30: `{"error": {code, message}}`, the code being the status.
    Wrapped,
    /// GA: the same with a word for the code.
    Ga,
}

/// The one place where a refusal becomes a status and a body.
pub(super) fn refusal(form: Form, fault: &Fault) -> Answer {
    let status = fault.status.to_string();
    let message = &fault.message;
    let body = match form {
        Form::Bare => json!({"code": status, "message": message}),
        Form::BareAndWrapped => json!({
            "code": status, "message": message, "error": {"code": status, "message": message},
        }),
        Form::Wrapped => json!({"error": {"code": status, "message": message}}),
        Form::Ga => json!({"error": {"code": fault.code, "message": message}}),
    };
    Answer::with(fault.status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_its_form_of_an_error() {
        let fault = Fault::not_found("gone");
        for (form, expected) in [
            (Form::Bare, json!({"code": "404", "message": "gone"})),
            (
                Form::BareAndWrapped,
                json!({"code": "404", "message": "gone", "error": {"code": "404", "message": "gone"}}),
            ),
            (
                Form::Wrapped,
                json!({"error": {"code": "404", "message": "gone"}}),
            ),
            (
                Form::Ga,
                json!({"error": {"code": "NotFound", "message": "gone"}}),
            ),
        ] {
            assert_eq!(refusal(form, &fault), Answer::with(404, expected));
        }
    }
}
