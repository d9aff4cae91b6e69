//! What the emulator shows of itself, and a way to have a call come in: paths of its own, without signatures.

use actix_web::{
    HttpResponse,
    web::{self, Bytes, ServiceConfig},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Backend, Door,
    answer::{Answer, Form, refusal},
    body::{self, Members},
};
use crate::emulator::{fault::Fault, identity::Identifier};

pub(super) fn configure<B: Backend>(config: &mut ServiceConfig) {
    config
        .route("/_emulator/health", web::get().to(health))
        .route("/_emulator/calls", web::get().to(calls::<B>))
        .route("/_emulator/callbacks", web::get().to(callbacks::<B>))
        .route("/_emulator/summary", web::get().to(summary::<B>))
        .route("/_emulator/consent", web::get().to(consent::<B>))
        .route("/_emulator/incoming", web::post().to(incoming::<B>));
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Every conversation with its legs, participants and recordings.
async fn calls<B: Backend>(door: web::Data<Door<B>>) -> HttpResponse {
    shown(
        door.backend
            .ask(|world| Ok(Answer::with(200, json!({"calls": world.conversations()})))),
    )
}

/// Every delivery with its answer.
async fn callbacks<B: Backend>(door: web::Data<Door<B>>) -> HttpResponse {
    HttpResponse::Ok().json(door.backend.callbacks())
}

/// What was counted so far.
async fn summary<B: Backend>(door: web::Data<Door<B>>) -> HttpResponse {
    HttpResponse::Ok().json(door.backend.summary())
}

#[derive(Deserialize)]
struct Consent {
    id: String,
}

/// Event Grid's subscriber consents by fetching the URL that it was told.
async fn consent<B: Backend>(
    door: web::Data<Door<B>>,
    consent: web::Query<Consent>,
) -> HttpResponse {
    if door.backend.consent(&consent.id) {
        HttpResponse::Ok().json(json!({"status": "the subscription delivers now"}))
    } else {
        HttpResponse::NotFound().json(json!({"error": "this is not the validation code"}))
    }
}

/// Lets a call come in: `{from, to, displayName}`, phone numbers or raw ids.
async fn incoming<B: Backend>(door: web::Data<Door<B>>, body: Bytes) -> HttpResponse {
    shown(call_in(&door.backend, &body))
}

fn call_in<B: Backend>(backend: &B, body: &[u8]) -> Result<Answer, Fault> {
    let object = body::object(body)?;
    let body = Members::of(&object);
    let from = identifier(&body.required("from", Members::text)?);
    let to = identifier(&body.required("to", Members::text)?);
    let name = body.text("displayName")?.unwrap_or_default();
    let context = backend.ask(|world| Ok(world.incoming(from, to, name)))?;
    Ok(Answer::with(201, json!({"incomingCallContext": context})))
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

fn shown(answer: Result<Answer, Fault>) -> HttpResponse {
    answer
        .unwrap_or_else(|fault| refusal(Form::Ga, &fault))
        .response()
}
