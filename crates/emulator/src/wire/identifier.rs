//! Identifiers of participants as events spell them: each generation has its own members, order and letter case.

use serde::Serialize;

use super::super::identity::Identifier;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Phone {
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TeamsUser {
    user_id: String,
    is_anonymous: bool,
    cloud: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TeamsApp {
    app_id: String,
    cloud: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TeamsExtension {
    user_id: String,
    tenant_id: String,
    resource_id: String,
    cloud: &'static str,
}

/// The member that is named like the kind; none for an unknown one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum IdentifierMember {
    CommunicationUser(User),
    PhoneNumber(Phone),
    MicrosoftTeamsUser(TeamsUser),
    MicrosoftTeamsApp(TeamsApp),
    TeamsExtensionUser(TeamsExtension),
}

impl IdentifierMember {
    pub(super) fn of(identifier: &Identifier) -> Option<Self> {
        Some(match identifier.clone() {
            Identifier::User { id } => Self::CommunicationUser(User { id }),
            Identifier::Phone { number } => Self::PhoneNumber(Phone { value: number }),
            Identifier::TeamsUser {
                user_id,
                anonymous,
                cloud,
            } => Self::MicrosoftTeamsUser(TeamsUser {
                user_id,
                is_anonymous: anonymous,
                cloud: cloud.name(),
            }),
            Identifier::TeamsApp { app_id, cloud } => Self::MicrosoftTeamsApp(TeamsApp {
                app_id,
                cloud: cloud.name(),
            }),
            Identifier::TeamsExtension {
                user_id,
                tenant_id,
                resource_id,
                cloud,
            } => Self::TeamsExtensionUser(TeamsExtension {
                user_id,
                tenant_id,
                resource_id,
                cloud: cloud.name(),
            }),
            Identifier::Unknown { .. } => return None,
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::CommunicationUser(_) => "communicationUser",
            Self::PhoneNumber(_) => "phoneNumber",
            Self::MicrosoftTeamsUser(_) => "microsoftTeamsUser",
            Self::MicrosoftTeamsApp(_) => "microsoftTeamsApp",
            Self::TeamsExtensionUser(_) => "teamsExtensionUser",
        }
    }
}

/// In callbacks of GA: `rawId` before `kind`. An identity of an unknown form (a recording bot) has only `rawId`, as
/// recorded.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawIdFirst {
    raw_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(flatten)]
    who: Option<IdentifierMember>,
}

impl RawIdFirst {
    pub(super) fn of(identifier: &Identifier) -> Self {
        let who = IdentifierMember::of(identifier);
        Self {
            raw_id: identifier.raw_id(),
            kind: who.as_ref().map(IdentifierMember::kind),
            who,
        }
    }
}

/// In events of Event Grid: `kind` before `rawId`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KindFirst {
    kind: &'static str,
    raw_id: String,
    #[serde(flatten)]
    who: Option<IdentifierMember>,
}

impl KindFirst {
    pub(super) fn of(identifier: &Identifier) -> Self {
        let who = IdentifierMember::of(identifier);
        Self {
            kind: who.as_ref().map_or("unknown", IdentifierMember::kind),
            raw_id: identifier.raw_id(),
            who,
        }
    }
}

/// In 2021-public: no `kind`, and what it is not is an explicit `null`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WithNulls {
    raw_id: String,
    communication_user: Option<User>,
    phone_number: Option<Phone>,
    microsoft_teams_user: Option<TeamsUser>,
}

impl WithNulls {
    pub(super) fn of(identifier: &Identifier) -> Self {
        let mut model = Self {
            raw_id: identifier.raw_id(),
            communication_user: None,
            phone_number: None,
            microsoft_teams_user: None,
        };
        match IdentifierMember::of(identifier) {
            Some(IdentifierMember::CommunicationUser(user)) => {
                model.communication_user = Some(user)
            }
            Some(IdentifierMember::PhoneNumber(phone)) => model.phone_number = Some(phone),
            Some(IdentifierMember::MicrosoftTeamsUser(user)) => {
                model.microsoft_teams_user = Some(user)
            }
            // Kinds that 2021 did not have.
            Some(
                IdentifierMember::MicrosoftTeamsApp(_) | IdentifierMember::TeamsExtensionUser(_),
            )
            | None => {}
        }
        model
    }
}

/// In 2021-private: as [`WithNulls`], in PascalCase all the way down.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pascal {
    raw_id: String,
    communication_user: Option<PascalUser>,
    phone_number: Option<PascalPhone>,
    microsoft_teams_user: Option<PascalTeamsUser>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PascalUser {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PascalPhone {
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PascalTeamsUser {
    user_id: String,
    is_anonymous: bool,
    cloud: &'static str,
}

impl Pascal {
    pub(super) fn of(identifier: &Identifier) -> Self {
        let camel = WithNulls::of(identifier);
        Self {
            raw_id: camel.raw_id,
            communication_user: camel
                .communication_user
                .map(|user| PascalUser { id: user.id }),
            phone_number: camel
                .phone_number
                .map(|phone| PascalPhone { value: phone.value }),
            microsoft_teams_user: camel.microsoft_teams_user.map(|user| PascalTeamsUser {
                user_id: user.user_id,
                is_anonymous: user.is_anonymous,
                cloud: user.cloud,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(model: impl Serialize) -> String {
        serde_json::to_string(&model).expect("JSON")
    }

    #[test]
    fn each_form_has_its_own_members_in_its_own_order() {
        let phone = Identifier::from_raw_id("4:+15550100");
        assert_eq!(
            json(RawIdFirst::of(&phone)),
            r#"{"rawId":"4:+15550100","kind":"phoneNumber","phoneNumber":{"value":"+15550100"}}"#
        );
        assert_eq!(
            json(KindFirst::of(&phone)),
            r#"{"kind":"phoneNumber","rawId":"4:+15550100","phoneNumber":{"value":"+15550100"}}"#
        );
        assert_eq!(
            json(WithNulls::of(&phone)),
            r#"{"rawId":"4:+15550100","communicationUser":null,"phoneNumber":{"value":"+15550100"},"microsoftTeamsUser":null}"#
        );
        assert_eq!(
            json(Pascal::of(&phone)),
            r#"{"RawId":"4:+15550100","CommunicationUser":null,"PhoneNumber":{"Value":"+15550100"},"MicrosoftTeamsUser":null}"#
        );
    }

    #[test]
    fn a_recording_bot_has_only_a_raw_id() {
        let bot = Identifier::from_raw_id("48:recording");
        assert_eq!(json(RawIdFirst::of(&bot)), r#"{"rawId":"48:recording"}"#);
        assert_eq!(
            json(KindFirst::of(&bot)),
            r#"{"kind":"unknown","rawId":"48:recording"}"#
        );
    }

    #[test]
    fn gas_form_says_what_the_rest_api_says() {
        for raw_id in ["8:acs:d6_0e", "4:+15550100", "8:dod:1", "28:orgid:1"] {
            let identifier = Identifier::from_raw_id(raw_id);
            let event: serde_json::Value =
                serde_json::from_str(&json(RawIdFirst::of(&identifier))).expect("JSON");
            assert_eq!(event, identifier.to_json());
        }
    }
}
