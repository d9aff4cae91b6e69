//! The baseline of every ratio: an actix-web handler that reads the body of a callback and answers 202. It stores
//! nothing. Built as an example: `cargo run --release --example baseline -- 127.0.0.1:8080`.

use std::{error::Error, net::TcpListener};

use actix_web::{App, HttpResponse, HttpServer, rt::System, web};

async fn callback(body: web::Bytes) -> HttpResponse {
    // A 202 like the receiver's, so that the answers have the same size.
    std::hint::black_box(body);
    HttpResponse::Accepted()
        .content_type("application/json")
        .body(r#"{"accepted":1,"duplicates":0,"quarantined":[]}"#)
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: baseline ADDRESS, for example 127.0.0.1:8080")?;
    let listener = TcpListener::bind(address)?;
    let server = HttpServer::new(|| App::new().default_service(web::to(callback)));
    System::new().block_on(server.listen(listener)?.run())?;
    Ok(())
}
