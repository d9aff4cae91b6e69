//! The REST API of the calling service, in three generations on one listener (docs/src/reference/acs-rest-api.md).
//!
//! A request is checked in this order: its signature (`auth`), its address and so its generation (`address`), whether it is a
//! repeated one (`repeat`). Then the operation of the generation's table (`endpoint`) reads the body and asks the world.

mod address;
mod auth;
mod backend;
mod body;
mod endpoint;
mod ga;
mod inspect;
mod keys;
mod previews;
mod private;
mod public;
mod repeat;
mod response;
mod tls;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderName, HeaderValue},
    web::{self, ServiceConfig},
};

pub(super) use self::backend::{Backend, Documents, RestApi};
pub(super) use self::tls::{ServerCertificate, TlsError};
use self::{
    address::RequestAddress,
    auth::SignedRequest,
    backend::{header_of, host},
    repeat::RequestFingerprint,
    response::{ApiResponse, ErrorForm, refusal},
};
use super::{api_error::ApiError, event::Generation};

/// Bytes of a body. The service's own limit is not documented; its longest documented body is far below this.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

const REPEATABILITY_ID: &str = "repeatability-request-id";
const REPEATABILITY_RESULT: &str = "repeatability-result";

/// The routes of the emulator; for `App::configure`.
pub(super) fn configure<B: Backend>(api: web::Data<RestApi<B>>) -> impl FnOnce(&mut ServiceConfig) {
    |config| {
        config.app_data(api);
        config.app_data(web::PayloadConfig::new(BODY_LIMIT_BYTES));
        keys::configure::<B>(config);
        inspect::configure::<B>(config);
        // Paths like `{id}:play` and encoded ids are looked up by us, not by the framework's router.
        config.default_service(web::to(handle::<B>));
    }
}

async fn handle<B: Backend>(
    api: web::Data<RestApi<B>>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let address = RequestAddress::parse(request.uri().path(), request.uri().query());
    let form = address.as_ref().map_or(ErrorForm::Ga, RequestAddress::form);
    let body = match payload.to_bytes_limited(BODY_LIMIT_BYTES).await {
        Ok(Ok(body)) => body,
        // The peer is gone or does not speak HTTP: the answer is not read.
        Ok(Err(error)) => return HttpResponse::from_error(error),
        Err(_) => return api.tell(&request, refusal(form, &too_large())),
    };
    let result = api
        .check(&request, &body)
        .and(address)
        .and_then(|address| api.answer(&request, &address, &body));
    let repeatable = header_of(&request, REPEATABILITY_ID).is_some();
    let (answer, result) = match result {
        Ok(answer) => (answer, "accepted"),
        Err(fault) => (refusal(form, &fault), "rejected"),
    };
    let status = answer.status;
    let mut response = api.tell(&request, answer);
    if repeatable {
        response.headers_mut().insert(
            HeaderName::from_static(REPEATABILITY_RESULT),
            HeaderValue::from_static(result),
        );
    }
    if status == 401 {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("HMAC-SHA256"),
        );
    }
    response
}

impl<B: Backend> RestApi<B> {
    /// The response, which is also reported to observers.
    fn tell(&self, request: &HttpRequest, answer: ApiResponse) -> HttpResponse {
        self.backend.answered(
            request.method().as_str(),
            request.uri().path(),
            answer.status,
        );
        answer.response()
    }

    fn check(&self, request: &HttpRequest, body: &[u8]) -> Result<(), ApiError> {
        let Some(key) = self.backend.access_key() else {
            return Ok(());
        };
        SignedRequest {
            method: request.method().as_str(),
            path_and_query: path_and_query(request),
            host: host(request),
            date: header_of(request, "x-ms-date"),
            content_hash: header_of(request, "x-ms-content-sha256"),
            authorization: header_of(request, "authorization"),
            body,
        }
        .check(key, SystemTime::now())
    }

    /// # Errors
    /// What keeps the operation from being run at all; its own refusals are answers, and kept for repetitions.
    fn answer(
        &self,
        request: &HttpRequest,
        address: &RequestAddress,
        body: &[u8],
    ) -> Result<ApiResponse, ApiError> {
        let method = request.method().as_str();
        let run = || {
            self.run(method, address, body)
                .unwrap_or_else(|fault| refusal(address.form(), &fault))
        };
        match header_of(request, REPEATABILITY_ID) {
            // The date of the first request is for services that forget by time; this one forgets by number.
            Some(id) => {
                let print = RequestFingerprint::of(method, path_and_query(request), body);
                self.repeats.once(id, print, run)
            }
            None => Ok(run()),
        }
    }

    fn run(
        &self,
        method: &str,
        address: &RequestAddress,
        body: &[u8],
    ) -> Result<ApiResponse, ApiError> {
        let api = address.api()?;
        let (table, prefix_needed) = match api.generation {
            Generation::Private => (private::ENDPOINTS, false),
            Generation::Public => (public::ENDPOINTS, true),
            Generation::Ga => (ga::ENDPOINTS, true),
        };
        let found = endpoint::find(table, method, address, prefix_needed)?;
        let body = body::object(body)?;
        self.backend
            .ask(|world| found.run(world, api, address, &body))
    }
}

fn path_and_query(request: &HttpRequest) -> &str {
    request
        .uri()
        .path_and_query()
        .map_or("/", |sent| sent.as_str())
}

fn too_large() -> ApiError {
    ApiError {
        status: 413,
        code: "RequestEntityTooLarge",
        message: format!("the body has more than {BODY_LIMIT_BYTES} bytes"),
    }
}
