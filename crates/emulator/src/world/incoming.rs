//! Incoming calls: answered, redirected, rejected.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngExt;

use super::{
    super::{api_error::ApiError, event::GridHappened, identity::Identifier},
    Answer, PlannedAct, World,
    calls::{EVERYTHING, NewLeg},
    conversation::Incoming,
};

impl World {
    /// Answers an incoming call.
    pub(crate) fn answer(&mut self, request: Answer) -> Result<String, ApiError> {
        let incoming = self.take_incoming(&request.token)?;
        let source = request
            .answered_by
            .clone()
            .unwrap_or_else(|| match &incoming.to {
                user @ Identifier::User { .. } => user.clone(),
                _ => self.identity(),
            });
        let leg = self.new_leg(NewLeg {
            conversation: incoming.conversation,
            api: request.api,
            callback: request.callback,
            context: request.context,
            wants: EVERYTHING,
            source,
            media: request.media,
        });
        if let Some(known) = self.legs.get_mut(&leg) {
            known.targets = vec![incoming.from.clone()];
            known.answered_by = request.answered_by;
            if let Identifier::Phone { number } = &incoming.to {
                known.answered_for = Some(number.clone());
            }
        }
        let ring = self.setup.scenario.line.latency;
        self.after(ring, PlannedAct::Joined { leg: leg.clone() });
        Ok(leg)
    }

    /// Redirects an incoming call to another target.
    pub(crate) fn redirect(
        &mut self,
        token: &str,
        target: Option<Identifier>,
    ) -> Result<(), ApiError> {
        if target.is_none() {
            return Err(ApiError::bad_request(
                "target is missing: it names where the call goes",
            ));
        }
        // What happens at the target no longer concerns this application.
        self.forget_incoming(token)
    }

    /// Rejects an incoming call.
    pub(crate) fn reject(&mut self, token: &str, reason: Option<&str>) -> Result<(), ApiError> {
        if let Some(reason) = reason
            && !["none", "busy", "forbidden"].contains(&reason)
        {
            return Err(ApiError::bad_request(format!(
                "callRejectReason is none, busy or forbidden, not {reason:?}"
            )));
        }
        self.forget_incoming(token)
    }

    /// Makes an incoming call now; returns its `incomingCallContext`.
    pub(crate) fn incoming(
        &mut self,
        from: Identifier,
        to: Identifier,
        display_name: String,
    ) -> String {
        let conversation = self.new_conversation(from.clone(), None, None);
        let secret: Vec<u8> = (0..900).map(|_| self.rng.random()).collect();
        let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
        self.incoming.insert(
            token.clone(),
            Incoming {
                conversation,
                from: from.clone(),
                to: to.clone(),
            },
        );
        self.tell_grid(
            conversation,
            GridHappened::IncomingCall {
                from,
                to,
                display_name,
                context_token: token.clone(),
            },
        );
        token
    }

    pub(super) fn comes_in(&mut self, index: usize, left: u32) {
        let Some(incoming) = self.setup.scenario.incoming.get(index).cloned() else {
            return;
        };
        let who = |text: &str| {
            if text.starts_with('+') {
                Identifier::Phone {
                    number: text.to_owned(),
                }
            } else {
                Identifier::from_raw_id(text)
            }
        };
        self.incoming(
            who(&incoming.from),
            who(&incoming.to),
            incoming.display_name,
        );
        if let Some(left) = left.checked_sub(1) {
            self.after(incoming.every, PlannedAct::Incoming { index, left });
        }
    }

    fn take_incoming(&mut self, token: &str) -> Result<Incoming, ApiError> {
        self.incoming.remove(token).ok_or_else(|| {
            ApiError::not_found(
                "incomingCallContext names no call that is ringing: it was answered, redirected, rejected, or never came",
            )
        })
    }

    fn forget_incoming(&mut self, token: &str) -> Result<(), ApiError> {
        let incoming = self.take_incoming(token)?;
        if let Some(conversation) = self.conversations.get_mut(&incoming.conversation) {
            conversation.ended = true;
        }
        Ok(())
    }
}
