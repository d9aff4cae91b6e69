//! All routes together: the targets of one event, and why the other routes do not match.

use std::{fmt, sync::Arc};

use crate::event::{AppName, Event, Generation, Kind};

use super::{Route, Sink, Target, Template};

/// The configured routes, ready for use.
#[derive(Clone, Debug)]
pub struct Router {
    lines: Vec<CompiledRoute>,
    unrouted: Target,
}

/// A route with the parts of its sink that are independent of an event.
#[derive(Clone, Debug)]
struct CompiledRoute {
    route: Route,
    aim: RouteTarget,
}

#[derive(Clone, Debug)]
enum RouteTarget {
    /// Cloned for each event: two reference counts.
    Fixed(Target),
    /// Rendered for each event.
    Rendered {
        exchange: Arc<str>,
        routing_key: Template,
    },
}

/// The result of one route for one event, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub route: String,
    /// Whether it matches the event.
    pub verdict: RouteMatch,
}

/// Whether a route matches an event, else the first part of it that does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// It matches, and delivers here.
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

impl fmt::Display for RouteMatch {
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
            .map(|route| CompiledRoute {
                aim: RouteTarget::of(&route.sink),
                route,
            })
            .collect();
        Self {
            lines,
            unrouted: Target::unrouted(),
        }
    }

    /// The targets of one event: every matching route's target, in the order of the routes, each once; if no route
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
                let target = line.target(app, event, kind, generation);
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

    /// The result of each route for one event, in the order of the routes.
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
                            .map(RouteMatch::Filter)
                    })
                    .unwrap_or_else(|| {
                        RouteMatch::Matched(line.target(app, event, kind, generation))
                    }),
            })
            .collect()
    }
}

impl CompiledRoute {
    /// The first part other than the filters that does not match.
    fn refusal(
        &self,
        app: &AppName,
        event: &Event,
        kind: Kind,
        generation: Option<&Generation>,
    ) -> Option<RouteMatch> {
        let Route {
            app: wanted_app,
            kinds,
            types,
            generations,
            ..
        } = &self.route;
        if wanted_app.as_ref().is_some_and(|wanted| wanted != app) {
            Some(RouteMatch::App)
        } else if !kinds.is_empty() && !kinds.contains(&kind) {
            Some(RouteMatch::Kind)
        } else if !types.is_empty() && !types.iter().any(|name| is_type(event, name)) {
            Some(RouteMatch::Type)
        } else if !generations.is_empty()
            && !generation.is_some_and(|generation| generations.contains(generation))
        {
            Some(RouteMatch::Generation)
        } else {
            None
        }
    }
}

impl CompiledRoute {
    /// The target of an event that the route matches.
    ///
    /// A type that neither the catalogue nor the route knows is `Unknown` in a routing key: otherwise the sender would
    /// choose the word, and a topic exchange would get as many routing keys as a sender makes up.
    fn target(
        &self,
        app: &AppName,
        event: &Event,
        kind: Kind,
        generation: Option<&Generation>,
    ) -> Target {
        match &self.aim {
            RouteTarget::Fixed(target) => target.clone(),
            RouteTarget::Rendered {
                exchange,
                routing_key,
            } => {
                let word = if kind == Kind::Unknown && self.route.types.is_empty() {
                    kind.as_str()
                } else {
                    event.attributes.short_type()
                };
                Target::Exchange {
                    exchange: exchange.clone(),
                    routing_key: routing_key.render(app, kind, word, generation).into(),
                }
            }
        }
    }
}

fn is_type(event: &Event, name: &str) -> bool {
    event.attributes.event_type == name || event.attributes.short_type() == name
}

impl RouteTarget {
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
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bytes::Bytes;
    use serde_json::{Value, json};

    use crate::{
        event::{Attributes, EnvelopeForm},
        route::{Address, Filter, QueueType},
    };

    use super::*;

    fn app(name: &str) -> AppName {
        AppName::try_from(name.to_owned()).unwrap()
    }

    fn event(event_type: &str) -> Event {
        Event {
            form: EnvelopeForm::CloudEvents,
            attributes: Attributes {
                event_type: event_type.to_owned(),
                subject: Some("calling/c1".to_owned()),
                ..Attributes::default()
            },
            data: Value::Null,
            raw: Bytes::new(),
            cloud_event: Bytes::new(),
        }
    }

    fn queue_route(name: &str, queue: &str) -> Route {
        Route {
            name: name.to_owned(),
            app: None,
            kinds: Vec::new(),
            types: Vec::new(),
            generations: Vec::new(),
            filters: Vec::new(),
            sink: Sink::Queue {
                name: queue.to_owned(),
                partitions: NonZeroU32::new(4),
                queue_type: QueueType::Quorum,
            },
        }
    }

    fn exchange_route(name: &str, template: &str) -> Route {
        Route {
            sink: Sink::Exchange {
                exchange: "calls".to_owned(),
                routing_key: template.parse().unwrap(),
            },
            ..queue_route(name, "")
        }
    }

    /// The families of the targets of a `PlayFailed` of app `contoso`, generation `ga`.
    fn check(routes: Vec<Route>) -> Vec<String> {
        Router::new(routes)
            .route(
                &app("contoso"),
                &event("Microsoft.Communication.PlayFailed"),
                Kind::PlayAudioResult,
                Some(&Generation::new("ga")),
            )
            .iter()
            .map(Target::family)
            .collect()
    }

    #[test]
    fn unknown_types_share_a_routing_key_unless_the_route_names_them() {
        let families = |route: Route, event_type: &str| -> Vec<String> {
            Router::new(vec![route])
                .route(&app("contoso"), &event(event_type), Kind::Unknown, None)
                .iter()
                .map(Target::family)
                .collect()
        };
        let all = || exchange_route("all", "{app}.{kind}.{event}");
        for event_type in ["x.t1", "x.t2", "Microsoft.Communication.New"] {
            assert_eq!(
                families(all(), event_type),
                ["exchange calls contoso.Unknown.Unknown"]
            );
        }
        let named = Route {
            types: vec!["Microsoft.Communication.New".to_owned()],
            ..all()
        };
        assert_eq!(
            families(named, "Microsoft.Communication.New"),
            ["exchange calls contoso.Unknown.New"]
        );
    }

    #[test]
    fn each_matching_route_gives_one_target_in_their_order() {
        let routes = vec![
            queue_route("all", "b"),
            Route {
                app: Some(app("other")),
                ..queue_route("other", "x")
            },
            Route {
                app: Some(app("contoso")),
                ..queue_route("own", "a")
            },
            exchange_route("topic", "{app}.{kind}.{event}"),
        ];
        assert_eq!(
            check(routes),
            [
                "queue b",
                "queue a",
                "exchange calls contoso.PlayAudioResult.PlayFailed"
            ]
        );
    }

    #[test]
    fn two_routes_to_one_destination_give_one_target() {
        let routes = vec![
            queue_route("one", "q"),
            exchange_route("three", "{event}"),
            queue_route("two", "q"),
            exchange_route("four", "PlayFailed"),
        ];
        assert_eq!(check(routes), ["queue q", "exchange calls PlayFailed"]);
    }

    #[test]
    fn an_event_without_a_route_goes_to_the_unrouted_queue() {
        assert_eq!(check(vec![]), ["queue hookswitch.unrouted"]);
        let other = Route {
            kinds: vec![Kind::Hold],
            ..queue_route("hold", "q")
        };
        assert_eq!(check(vec![other]), ["queue hookswitch.unrouted"]);
    }

    #[test]
    fn types_are_short_or_full() {
        let typed = |name: &str| Route {
            types: vec!["X".to_owned(), name.to_owned()],
            ..queue_route("t", "q")
        };
        for (name, matches) in [
            ("PlayFailed", true),
            ("Microsoft.Communication.PlayFailed", true),
            ("Communication.PlayFailed", false),
            ("playFailed", false),
            ("PlayCompleted", false),
        ] {
            assert_eq!(check(vec![typed(name)]) == ["queue q"], matches, "{name}");
        }
    }

    #[test]
    fn an_event_of_no_known_generation_matches_no_list_of_them() {
        let route = Route {
            generations: vec![Generation::new("ga")],
            ..queue_route("g", "q")
        };
        let router = Router::new(vec![route]);
        let verdict = |generation: Option<&str>| {
            let generation = generation.map(Generation::new);
            let (app, event) = (app("contoso"), event("T"));
            let targets = router.route(&app, &event, Kind::Unknown, generation.as_ref());
            let explained = router.explain(&app, &event, Kind::Unknown, generation.as_ref());
            let matched = matches!(explained[0].verdict, RouteMatch::Matched(_));
            assert_eq!(matched, targets != [Target::unrouted()]);
            matched
        };
        assert!(verdict(Some("ga")));
        assert!(!verdict(Some("eg")));
        assert!(!verdict(None));
    }

    #[test]
    fn an_explanation_says_of_each_route_what_keeps_the_event_out() {
        let filters = |value: Value| Filter::parse_list(&value).unwrap();
        let routes = vec![
            Route {
                app: Some(app("other")),
                ..queue_route("app", "q")
            },
            Route {
                kinds: vec![Kind::Hold, Kind::Dialog],
                ..queue_route("kind", "q")
            },
            Route {
                types: vec!["PlayCompleted".to_owned()],
                ..queue_route("type", "q")
            },
            Route {
                generations: vec![Generation::new("eg")],
                ..queue_route("generation", "q")
            },
            Route {
                filters: filters(
                    json!([{"prefix": {"subject": "calling/"}}, {"exact": {"source": "s"}}]),
                ),
                ..queue_route("filter", "q")
            },
            Route {
                app: Some(app("contoso")),
                kinds: vec![Kind::PlayAudioResult],
                types: vec!["PlayFailed".to_owned()],
                generations: vec![Generation::new("ga")],
                filters: filters(json!([{"prefix": {"subject": "calling/"}}])),
                ..queue_route("matched", "q")
            },
        ];
        let router = Router::new(routes);
        let explained = router.explain(
            &app("contoso"),
            &event("Microsoft.Communication.PlayFailed"),
            Kind::PlayAudioResult,
            Some(&Generation::new("ga")),
        );
        let lines: Vec<_> = explained
            .iter()
            .map(|line| format!("{} {}", line.route, line.verdict))
            .collect();
        assert_eq!(
            lines,
            [
                "app is for another app",
                "kind does not list this kind",
                "type does not list this type",
                "generation does not list this generation",
                "filter filter: { exact = { source = \"s\" } } fails: the event has no source",
                "matched matches",
            ]
        );
        let RouteMatch::Matched(target) = &explained[5].verdict else {
            panic!("{explained:?}")
        };
        assert_eq!(target.addresses().len(), 4);
        assert!(matches!(&target.addresses()[0], Address::Queue { name, .. } if name == "q.0"));
    }
}
