//! The public listener: threads, bounds, stop.

use std::{io, net::TcpListener, sync::Arc};

use actix_web::{App, web};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Gates,
    http::{self, Door, DoorMetrics, Identity, Listening, Name, threads_for_two_cores},
    journal::Intake,
    status::{DriftBoard, Ledger},
};

use super::{
    IngressMetrics, Pipeline, Settings,
    body::BodyRoom,
    callback::{self, Desk},
    rates::Rates,
};

/// What the public listener works with.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// Bounds.
    pub settings: Settings,
    /// Who may come in.
    pub gates: Arc<Gates>,
    /// From bytes to offers.
    pub pipeline: Arc<Pipeline>,
    /// Where offers go.
    pub intake: Intake,
    /// Where events that are refused before the journal are booked.
    pub ledger: Arc<Ledger>,
    /// Where drift is shown.
    pub drift: Arc<DriftBoard>,
    /// What is counted.
    pub metrics: IngressMetrics,
    /// What is counted of connections.
    pub door: DoorMetrics,
    /// What it shows; without one it speaks no TLS.
    pub identity: Option<Arc<Identity>>,
}

/// Serves callbacks on `listener`, which is bound already, on one thread for every two cores.
///
/// # Errors
/// If the listener cannot be made non-blocking or its threads cannot be started.
pub fn serve(listener: TcpListener, ingress: Ingress) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let stopping = CancellationToken::new();
    let Ingress {
        settings,
        gates,
        pipeline,
        intake,
        ledger,
        drift,
        metrics,
        door,
        identity,
    } = ingress;
    let door = Door {
        name: Name::Public,
        limits: settings.limits(),
        identity,
        threads: threads_for_two_cores(),
        metrics: door,
        stopping: stopping.clone(),
    };
    let rates = Arc::new(Rates::new(pipeline.apps(), &metrics));
    let desk = Desk {
        settings,
        rates,
        gates,
        pipeline,
        intake,
        ledger,
        drift,
        metrics,
        places: Arc::new(Semaphore::new(settings.in_flight_limit)),
        room: BodyRoom::new(settings.body_room_bytes),
        stopping: stopping.clone(),
    };
    let server = http::serve(listener, door, move || {
        // This runs once on each of the threads.
        let (intake, mailbox) = desk.intake.for_thread();
        actix_web::rt::spawn(mailbox.hand_out());
        let desk = Desk {
            intake,
            ..desk.clone()
        };
        // One handler for everything: what is a callback is decided on the path as it was received, which a router
        // that decodes it first could not do.
        App::new()
            .app_data(web::Data::new(desk))
            .default_service(web::to(callback::answer))
    })?;
    Ok(Listening::start(address, server, stopping))
}
