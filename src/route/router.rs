//! All routes together: which targets one event has, and why not the others.

use std::{fmt, sync::Arc};

use crate::event::{AppName, Event, Generation, Kind};

use super::{Route, Sink, Target, Template};

/// The configured routes, ready for use.
#[derive(Clone, Debug)]
pub struct Router {
    lines: Vec<Line>,
    unrouted: Target,
}

/// A route with what can be made of its sink before any event is seen.
#[derive(Clone, Debug)]
struct Line {
    route: Route,
    aim: Aim,
}

#[derive(Clone, Debug)]
enum Aim {
    /// Cloned for each event: two reference counts.
    Fixed(Target),
    /// Rendered for each event.
    Rendered {
        exchange: Arc<str>,
        routing_key: Template,
    },
}

/// What one route makes of one event, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The route's name.
    pub route: String,
    /// Whether it takes the event.
    pub verdict: Verdict,
}

/// Whether a route takes an event, else the first part of it that does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does, and delivers here.
    Matched(Target),
    /// It is for another app.
    App,
    /// It does not list the kind.
    Kind,
    /// It does not list the type.
    Type,
    /// It does not list the generation.
    Generation,
    /// A filter expression fails; the text says which part.
    Filter(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matched(_) => f.write_str("matches"),
            Self::App => f.write_str("is for another app"),
            Self::Kind => f.write_str("does not list this kind"),
            Self::Type => f.write_str("does not list this type"),
            Self::Generation => f.write_str("does not list this generation"),
            Self::Filter(why) => write!(f, "filter: {why}"),
        }
    }
}

impl Router {
    /// Takes the routes in the order of the configuration, which is the order of the targets.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        let lines = routes
            .into_iter()
            .map(|route| Line {
                aim: Aim::of(&route.sink),
                route,
            })
            .collect();
        Self {
            lines,
            unrouted: Target::unrouted(),
        }
    }

    /// Where one event goes: every matching route's target, in the order of the routes, each once; where no route
    /// matches, the queue [`super::UNROUTED`]. Never empty.
    #[must_use]
    pub fn route(
        &self,
        app: &AppName,
        event: &Event,
        kind: Kind,
        generation: Option<&Generation>,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for line in &self.lines {
            if line.refusal(app, event, kind, generation).is_none()
                && line
                    .route
                    .filters
                    .iter()
                    .all(|filter| filter.matches(event))
            {
                let target = line.aim.target(app, event, kind, generation);
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        if targets.is_empty() {
            targets.push(self.unrouted.clone());
        }
        targets
    }

    /// What each route makes of one event, in the order of the routes.
    #[must_use]
    pub fn explain(
        &self,
        app: &AppName,
        event: &Event,
        kind: Kind,
        generation: Option<&Generation>,
    ) -> Vec<Explanation> {
        self.lines
            .iter()
            .map(|line| Explanation {
                route: line.route.name.clone(),
                verdict: line
                    .refusal(app, event, kind, generation)
                    .or_else(|| {
                        let mut filters = line.route.filters.iter();
                        filters
                            .find_map(|filter| filter.why_not(event))
                            .map(Verdict::Filter)
                    })
                    .unwrap_or_else(|| {
                        Verdict::Matched(line.aim.target(app, event, kind, generation))
                    }),
            })
            .collect()
    }
}

impl Line {
    /// The first part besides the filters that keeps the event out.
    fn refusal(
        &self,
        app: &AppName,
        event: &Event,
        kind: Kind,
        generation: Option<&Generation>,
    ) -> Option<Verdict> {
        let Route {
            app: wanted_app,
            kinds,
            types,
            generations,
            ..
        } = &self.route;
        if wanted_app.as_ref().is_some_and(|wanted| wanted != app) {
            Some(Verdict::App)
        } else if !kinds.is_empty() && !kinds.contains(&kind) {
            Some(Verdict::Kind)
        } else if !types.is_empty() && !types.iter().any(|name| is_type(event, name)) {
            Some(Verdict::Type)
        } else if !generations.is_empty()
            && !generation.is_some_and(|generation| generations.contains(generation))
        {
            Some(Verdict::Generation)
        } else {
            None
        }
    }
}

fn is_type(event: &Event, name: &str) -> bool {
    event.attributes.event_type == name || event.attributes.short_type() == name
}

impl Aim {
    fn of(sink: &Sink) -> Self {
        match sink {
            Sink::Queue {
                name,
                partitions,
                queue_type,
            } => Self::Fixed(Target::Queue {
                name: name.as_str().into(),
                partitions: *partitions,
                queue_type: *queue_type,
            }),
            Sink::Exchange {
                exchange,
                routing_key,
            } => Self::Rendered {
                exchange: exchange.as_str().into(),
                routing_key: routing_key.clone(),
            },
        }
    }

    fn target(
        &self,
        app: &AppName,
        event: &Event,
        kind: Kind,
        generation: Option<&Generation>,
    ) -> Target {
        match self {
            Self::Fixed(target) => target.clone(),
            Self::Rendered {
                exchange,
                routing_key,
            } => Target::Exchange {
                exchange: exchange.clone(),
                routing_key: routing_key
                    .render(app, kind, event.attributes.short_type(), generation)
                    .into(),
            },
        }
    }
}
