//! What the emulator shows of itself, and a way to simulate an incoming call: paths of its own, without signatures.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Bytes, ServiceConfig},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    backend::{Backend, RestApi},
    body::{self, BodyMembers},
    response::{ApiResponse, ErrorForm, refusal},
};
use crate::{api_error::ApiError, identity::Identifier};

pub(super) fn configure<B: Backend>(config: &mut ServiceConfig) {
    let at = |path| web::resource(path).default_service(web::to(not_so));
    config.service(
        web::scope("/_emulator")
            .service(at("/health").route(web::get().to(health)))
            .service(at("/calls").route(web::get().to(calls::<B>)))
            .service(at("/callbacks").route(web::get().to(callbacks::<B>)))
            .service(at("/summary").route(web::get().to(summary::<B>)))
            // Also accepts a POST from a user who tries it out.
            .service(
                at("/consent")
                    .route(web::get().to(consent::<B>))
                    .route(web::post().to(consent::<B>)),
            )
            .service(at("/incoming").route(web::post().to(incoming::<B>)))
            .default_service(web::to(not_there)),
    );
}

/// The available paths, for the error at an unknown one.
const THERE: &str = "GET /_emulator/health, /_emulator/calls, /_emulator/callbacks and /_emulator/summary, GET or POST \
                     /_emulator/consent, and POST /_emulator/incoming";

async fn not_there() -> HttpResponse {
    shown(Err(ApiError::not_found(format!(
        "this path does not exist; the paths are {THERE}"
    ))))
}

async fn not_so() -> HttpResponse {
    shown(Err(ApiError {
        status: 405,
        code: "MethodNotAllowed",
        message: format!("not with this method; there are {THERE}"),
    }))
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Every conversation with its legs, participants and recordings.
async fn calls<B: Backend>(api: web::Data<RestApi<B>>) -> HttpResponse {
    shown(api.backend.ask(|world| {
        Ok(ApiResponse::with(
            200,
            json!({"calls": world.conversations()}),
        ))
    }))
}

/// Every delivery with its answer.
async fn callbacks<B: Backend>(api: web::Data<RestApi<B>>) -> HttpResponse {
    HttpResponse::Ok().json(api.backend.callbacks())
}

/// The counters so far.
async fn summary<B: Backend>(api: web::Data<RestApi<B>>) -> HttpResponse {
    HttpResponse::Ok().json(api.backend.summary())
}

#[derive(Deserialize)]
struct Consent {
    id: String,
}

/// Event Grid's subscriber consents by fetching the URL that it was given.
async fn consent<B: Backend>(
    api: web::Data<RestApi<B>>,
    consent: web::Query<Consent>,
) -> HttpResponse {
    if api.backend.consent(&consent.id) {
        HttpResponse::Ok().json(json!({"status": "the subscription delivers now"}))
    } else {
        HttpResponse::NotFound().json(json!({"error": "this is not the validation code"}))
    }
}

/// Makes an incoming call: `{from, to, displayName}`, phone numbers or raw ids.
async fn incoming<B: Backend>(
    api: web::Data<RestApi<B>>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    let answer =
        call_in(&api.backend, &body).unwrap_or_else(|fault| refusal(ErrorForm::Ga, &fault));
    api.tell(&request, answer)
}

fn call_in<B: Backend>(backend: &B, body: &[u8]) -> Result<ApiResponse, ApiError> {
    let object = body::object(body)?;
    let body = BodyMembers::of(&object);
    let from = identifier(&body.required("from", BodyMembers::text)?);
    let to = identifier(&body.required("to", BodyMembers::text)?);
    let name = body.text("displayName")?.unwrap_or_default();
    let context = backend.ask(|world| Ok(world.incoming(from, to, name)))?;
    Ok(ApiResponse::with(
        201,
        json!({"incomingCallContext": context}),
    ))
}

/// A phone number or a raw id.
fn identifier(text: &str) -> Identifier {
    if text.starts_with('+') {
        Identifier::Phone {
            number: text.to_owned(),
        }
    } else {
        Identifier::from_raw_id(text)
    }
}

fn shown(answer: Result<ApiResponse, ApiError>) -> HttpResponse {
    answer
        .unwrap_or_else(|fault| refusal(ErrorForm::Ga, &fault))
        .response()
}
