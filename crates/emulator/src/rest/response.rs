//! The answer to a request, in the form of its generation.

use actix_web::{HttpResponse, http::StatusCode};
use serde_json::{Value, json};

use crate::api_error::ApiError;

/// Status and body, kept for repeated requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ApiResponse {
    pub(super) status: u16,
    /// `None`: the operation's answer has no body.
    pub(super) body: Option<Value>,
}

impl ApiResponse {
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
pub(super) enum ErrorForm {
    /// Private preview: `{code, message}`.
    Bare,
    /// 2021-06-15: its early text has the bare members, its later one `error`. Clients ignore unknown members, so both
    /// are included.
    BareAndWrapped,
    /// 2021-08-30: `{"error": {code, message}}`, the code being the status.
    Wrapped,
    /// GA: the same with a word for the code.
    Ga,
}

/// The one place where a refusal becomes a status and a body.
pub(super) fn refusal(form: ErrorForm, fault: &ApiError) -> ApiResponse {
    let status = fault.status.to_string();
    let message = &fault.message;
    let body = match form {
        ErrorForm::Bare => json!({"code": status, "message": message}),
        ErrorForm::BareAndWrapped => json!({
            "code": status, "message": message, "error": {"code": status, "message": message},
        }),
        ErrorForm::Wrapped => json!({"error": {"code": status, "message": message}}),
        ErrorForm::Ga => json!({"error": {"code": fault.code, "message": message}}),
    };
    ApiResponse::with(fault.status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_its_form_of_an_error() {
        let fault = ApiError::not_found("gone");
        for (form, expected) in [
            (ErrorForm::Bare, json!({"code": "404", "message": "gone"})),
            (
                ErrorForm::BareAndWrapped,
                json!({"code": "404", "message": "gone", "error": {"code": "404", "message": "gone"}}),
            ),
            (
                ErrorForm::Wrapped,
                json!({"error": {"code": "404", "message": "gone"}}),
            ),
            (
                ErrorForm::Ga,
                json!({"error": {"code": "NotFound", "message": "gone"}}),
            ),
        ] {
            assert_eq!(refusal(form, &fault), ApiResponse::with(404, expected));
        }
    }
}
