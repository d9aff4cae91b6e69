//! A listener without sockets, in front of a world whose clock the test advances.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    App,
    http::{Method, header::HeaderMap},
    rt::System,
    test, web,
};
use serde_json::{Value, json};

use super::{
    Backend, Documents, RestApi,
    address::RequestAddress,
    configure,
    endpoint::{self, Endpoint},
};
use crate::{
    api_error::ApiError,
    scenario::Scenario,
    world::{Setup, World},
};

/// A fake of the service.
pub(super) struct Fixed {
    world: Mutex<(World, Duration)>,
    key: Option<Vec<u8>>,
    documents: Documents,
    answered: Mutex<Vec<String>>,
}

impl Backend for Fixed {
    fn ask<T>(
        &self,
        request: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        request(&mut world.0)
    }

    fn access_key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn public_documents(&self) -> &Documents {
        &self.documents
    }

    fn callbacks(&self) -> Value {
        json!({"callbacks": [{"status": 204}]})
    }

    fn consent(&self, code: &str) -> bool {
        code == "right"
    }

    fn summary(&self) -> Value {
        json!({"calls": self.answered.lock().expect("no panic").len()})
    }

    fn answered(&self, method: &str, path: &str, status: u16) {
        let line = format!("{method} {path} {status}");
        self.answered.lock().expect("no panic").push(line);
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `Null` for no body.
    pub(super) body: Value,
}

pub(super) struct Listener {
    api: web::Data<RestApi<Fixed>>,
}

impl Listener {
    /// One without authentication.
    pub(super) fn open() -> Self {
        Self::with_key(None)
    }

    pub(super) fn with_key(key: Option<&[u8]>) -> Self {
        let world = World::new(Setup {
            inactive_first: 0.0,
            scenario: Scenario::default(),
            seed: 1,
            resource_id: "00000000-0000-4000-8000-000000000001".to_owned(),
            epoch: jiff::Timestamp::UNIX_EPOCH,
            speed: 1.0,
        });
        Self {
            api: web::Data::new(RestApi::new(Fixed {
                world: Mutex::new((world, Duration::ZERO)),
                answered: Mutex::default(),
                key: key.map(<[u8]>::to_vec),
                documents: Documents {
                    openid: json!({"issuer": "i", "jwks_uri": "http://127.0.0.1:9100/calling/keys"}),
                    jwks: json!({"keys": []}),
                },
            })),
        }
    }

    /// Lets ten seconds pass: callees answer, prompts end.
    pub(super) fn wait(&self) {
        let mut world = self.api.backend.world.lock().expect("no panic");
        world.1 += Duration::from_secs(10);
        let now = world.1;
        world.0.advance(now);
    }

    pub(super) fn calls(&self) -> u64 {
        self.api.backend.world.lock().expect("no panic").0.calls()
    }

    /// The requests that the service was told about, in order.
    pub(super) fn answered(&self) -> Vec<String> {
        self.api.backend.answered.lock().expect("no panic").clone()
    }

    pub(super) fn send(&self, method: &str, uri: &str, body: &Value) -> Reply {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send_with(method, uri, &[], body.as_bytes())
    }

    pub(super) fn send_with(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        System::new().block_on(async {
            let app = test::init_service(App::new().configure(configure(self.api.clone()))).await;
            let mut request = test::TestRequest::with_uri(uri)
                .method(Method::from_bytes(method.as_bytes()).expect("a method"))
                .set_payload(body.to_vec());
            for header in headers {
                request = request.insert_header(*header);
            }
            let response = test::call_service(&app, request.to_request()).await;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let bytes = test::read_body(response).await;
            let body = if bytes.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&bytes).expect("JSON")
            };
            Reply {
                status,
                headers,
                body,
            }
        })
    }
}

/// One request of a sequence, and its answer. `{name}` is replaced by a value from an earlier answer.
pub(super) struct Step {
    pub(super) request: &'static str,
    pub(super) body: Value,
    pub(super) status: u16,
    /// Exactly the members of the answer; none for no body.
    pub(super) members: &'static [&'static str],
    /// Kept: name, and the member of the answer.
    pub(super) keep: Option<(&'static str, &'static str)>,
}

/// A step that keeps nothing.
pub(super) fn step(
    request: &'static str,
    body: Value,
    status: u16,
    members: &'static [&'static str],
) -> Step {
    Step {
        request,
        body,
        status,
        members,
        keep: None,
    }
}

impl Step {
    pub(super) fn keep(mut self, name: &'static str, member: &'static str) -> Self {
        self.keep = Some((name, member));
        self
    }
}

/// Runs a sequence on one listener, ten seconds after every step, and returns the operations it used.
pub(super) fn play(
    listener: &Listener,
    kept: &mut BTreeMap<&'static str, String>,
    table: &[Endpoint],
    version: Option<&str>,
    steps: Vec<Step>,
) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for step in steps {
        let fill = |text: &str| {
            kept.iter().fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            })
        };
        let request = fill(step.request);
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let body = serde_json::from_str(&fill(&step.body.to_string())).expect("JSON");
        let uri = match version {
            Some(version) => format!("{path}?api-version={version}"),
            None => path.to_owned(),
        };
        let reply = listener.send(method, &uri, &body);
        assert_eq!(reply.status, step.status, "{request}: {}", reply.body);
        let mut members: Vec<&str> = reply
            .body
            .as_object()
            .map(|object| object.keys().map(String::as_str).collect())
            .unwrap_or_default();
        members.sort_unstable();
        let mut expected = step.members.to_vec();
        expected.sort_unstable();
        assert_eq!(members, expected, "{request}");
        if let Some((name, member)) = step.keep {
            let value = reply.body[member].as_str().expect("a string").to_owned();
            kept.insert(name, value);
        }
        let address = RequestAddress::parse(path, None).expect("UTF-8");
        used.extend(endpoint::name_of(table, method, &address));
        listener.wait();
    }
    used
}

/// Takes each of these members (`a`, `a.b`, `a.0.b`) out of a body in turn, and expects an error that names it; with
/// all of them the body is accepted.
pub(super) fn every_member_is_needed(
    listener: &Listener,
    method: &str,
    uri: &str,
    body: &Value,
    members: &[&str],
) {
    let whole = listener.send(method, uri, body);
    assert_ne!(whole.status, 400, "{uri}: {}", whole.body);
    for member in members {
        let mut less = body.clone();
        let (parent, last) = match member.rsplit_once('.') {
            Some((parent, last)) => (format!("/{}", parent.replace('.', "/")), last),
            None => (String::new(), *member),
        };
        less.pointer_mut(&parent)
            .and_then(Value::as_object_mut)
            .and_then(|object| object.remove(last))
            .expect("the member is there");
        let reply = listener.send(method, uri, &less);
        assert_eq!(reply.status, 400, "{uri} without {member}: {}", reply.body);
        let text = reply.body.to_string();
        assert!(text.contains(last), "{uri} without {member}: {text}");
    }
}
