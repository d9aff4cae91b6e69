use super::*;
use crate::{Misbehaviour, Scenario};

fn settings() -> Settings {
    Settings {
        listen: "0.0.0.0:0".parse().expect("an address"),
        tls_listen: None,
        ca_out: None,
        access_key: None,
        resource_id: "00000000-0000-4000-8000-000000000001".to_owned(),
        scenario: Scenario::default(),
        speed: 1.0,
        seed: 1,
        misbehave: Misbehaviour::default(),
        retries: Vec::new(),
        event_grid: None,
        callback_ca: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_that_broke_ends_the_emulator() {
    let (mut emulator, _news) = Emulator::start(settings()).await.expect("it starts");
    let service = emulator.service.clone();
    std::thread::spawn(move || service.ask(|_| -> Result<(), ApiError> { panic!("of the test") }))
        .join()
        .expect_err("it panics");
    let failed = tokio::time::timeout(Duration::from_secs(30), emulator.failed());
    let error = failed.await.expect("it ends");
    let error = format!("{:#}", anyhow::Error::new(error));
    assert!(
        error.contains("changing the world does not panic"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_urls_that_it_publishes_are_its_own_address() {
    let (emulator, _news) = Emulator::start(settings()).await.expect("it starts");
    assert_eq!(
        emulator.url(),
        format!("http://127.0.0.1:{}", emulator.address().port())
    );
    let keys = emulator.service.public_documents().openid["jwks_uri"].to_string();
    assert!(keys.contains(&emulator.url()), "{keys}");
    emulator.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_written_only_for_a_listener() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ca.pem");
    let refused = Emulator::start(Settings {
        tls_listen: Some(taken.local_addr().expect("an address")),
        ca_out: Some(path.clone()),
        ..settings()
    });
    let error = refused.await.expect_err("the port is taken");
    assert!(
        matches!(error, EmulatorError::Listen { .. }) && !path.exists(),
        "{error}"
    );
    let keyless = Emulator::start(Settings {
        access_key: Some(String::new()),
        ..settings()
    });
    let error = keyless.await.expect_err("no key");
    assert!(matches!(error, EmulatorError::NoAccessKey), "{error}");
}
