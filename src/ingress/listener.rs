//! The public listener: threads, bounds, stop.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, web};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Gates,
    journal::Intake,
    ops::{Bounds, DriftBoard, Ledger, Listening},
};

use super::{
    IngressMetrics, Pipeline, Settings,
    body::BodyRoom,
    callback::{self, Desk},
};

/// How long an idle connection is kept: longer than the load balancers in front of us keep theirs, so that they close
/// first and never send into a connection that we are closing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a peer may take to read the end of an early answer before its connection is cut.
const GOODBYE: Duration = Duration::from_secs(2);

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
    } = ingress;
    let desk = Desk {
        settings,
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
    let bounds = Bounds::per_two_cores(settings.connection_limit);
    let server = HttpServer::new(move || {
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
    })
    .workers(bounds.workers)
    .max_connections(bounds.connections_per_worker)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(settings.request_timeout / 2)
    .client_disconnect_timeout(GOODBYE)
    .disable_signals()
    // `Listening::stop` has the deadline; this one must not come before it.
    .shutdown_timeout(3_600)
    .listen(listener)?
    .run();
    Ok(Listening::start(address, server, stopping))
}
