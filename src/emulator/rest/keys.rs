//! The documents by which receivers check the tokens of callbacks: the OpenID configuration and the keys it points to.

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};

use super::{Backend, Door};

/// Served under the paths that the service has them under (events.md 8.1).
pub(super) fn configure<B: Backend>(config: &mut ServiceConfig) {
    config
        .route(
            "/calling/.well-known/acsopenidconfiguration",
            web::get().to(openid::<B>),
        )
        .route("/calling/keys", web::get().to(jwks::<B>));
}

async fn openid<B: Backend>(door: web::Data<Door<B>>) -> HttpResponse {
    HttpResponse::Ok().json(&door.backend.public_documents().openid)
}

async fn jwks<B: Backend>(door: web::Data<Door<B>>) -> HttpResponse {
    HttpResponse::Ok().json(&door.backend.public_documents().jwks)
}
