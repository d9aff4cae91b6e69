//! The documents by which receivers check the tokens of callbacks: the OpenID configuration and the keys it points to.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, ServiceConfig},
};

use serde_json::json;

use super::backend::{Backend, RestApi, host};

const KEYS: &str = "/calling/keys";

/// Served under the paths that the service has them under (docs/src/reference/acs-events.md, "Tokens of callbacks").
pub(super) fn configure<B: Backend>(config: &mut ServiceConfig) {
    config
        .route(
            "/calling/.well-known/acsopenidconfiguration",
            web::get().to(openid::<B>),
        )
        .route(KEYS, web::get().to(jwks::<B>));
}

/// The keys are at the address from which the document was fetched: for example the name of a container, which the
/// emulator does not know.
async fn openid<B: Backend>(api: web::Data<RestApi<B>>, request: HttpRequest) -> HttpResponse {
    let mut document = api.backend.public_documents().openid.clone();
    if let (Some(keys), Some(host)) = (document.get_mut("jwks_uri"), host(&request)) {
        let scheme = if request.app_config().secure() {
            "https"
        } else {
            "http"
        };
        *keys = json!(format!("{scheme}://{host}{KEYS}"));
    }
    HttpResponse::Ok().json(document)
}

async fn jwks<B: Backend>(api: web::Data<RestApi<B>>) -> HttpResponse {
    HttpResponse::Ok().json(&api.backend.public_documents().jwks)
}
