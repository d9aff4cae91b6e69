//! Identifiers of participants, in every spelling that a request may use (docs/src/reference/acs-rest-api.md, "Bodies";
//! docs/src/reference/acs-events.md, "Shared objects").

use serde_json::{Map, Value, json};

/// A participant's identity: `CommunicationIdentifierModel`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identifier {
    /// `communicationUser`: a user of the resource, `8:acs:...`.
    User { id: String },
    /// `phoneNumber`, E.164.
    Phone { number: String },
    /// `microsoftTeamsUser`.
    TeamsUser {
        user_id: String,
        anonymous: bool,
        cloud: Cloud,
    },
    /// `microsoftTeamsApp`.
    TeamsApp { app_id: String, cloud: Cloud },
    /// `teamsExtensionUser`.
    TeamsExtension {
        user_id: String,
        tenant_id: String,
        resource_id: String,
        cloud: Cloud,
    },
    /// Only a raw id, of an unknown form.
    Unknown { raw_id: String },
}

/// The sovereign cloud of a Teams identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Cloud {
    #[default]
    Public,
    Dod,
    Gcch,
}

impl Cloud {
    /// The value of `cloud`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Dod => "dod",
            Self::Gcch => "gcch",
        }
    }

    fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("dod") => Self::Dod,
            Some("gcch") => Self::Gcch,
            _ => Self::Public,
        }
    }

    fn teams_user_prefix(self) -> &'static str {
        match self {
            Self::Public => "8:orgid:",
            Self::Dod => "8:dod:",
            Self::Gcch => "8:gcch:",
        }
    }

    fn teams_app_prefix(self) -> &'static str {
        match self {
            Self::Public => "28:orgid:",
            Self::Dod => "28:dod:",
            Self::Gcch => "28:gcch:",
        }
    }
}

const ANONYMOUS_TEAMS_USER: &str = "8:teamsvisitor:";

impl Identifier {
    /// Reads an identifier of a request, with or without `kind`, in camelCase.
    ///
    /// # Errors
    /// A sentence without the location: not an object, or no member that names a participant.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let object = value
            .as_object()
            .ok_or_else(|| "an identifier is an object".to_owned())?;
        let member = |name: &str| object.get(name).and_then(Value::as_object);
        if let Some(user) = member("communicationUser") {
            return Ok(Self::User {
                id: required(user, "communicationUser", "id")?,
            });
        }
        if let Some(phone) = member("phoneNumber") {
            return Ok(Self::Phone {
                number: required(phone, "phoneNumber", "value")?,
            });
        }
        if let Some(user) = member("microsoftTeamsUser") {
            return Ok(Self::TeamsUser {
                user_id: required(user, "microsoftTeamsUser", "userId")?,
                anonymous: user.get("isAnonymous") == Some(&Value::Bool(true)),
                cloud: Cloud::from_name(user.get("cloud").and_then(Value::as_str)),
            });
        }
        if let Some(app) = member("microsoftTeamsApp") {
            return Ok(Self::TeamsApp {
                app_id: required(app, "microsoftTeamsApp", "appId")?,
                cloud: Cloud::from_name(app.get("cloud").and_then(Value::as_str)),
            });
        }
        if let Some(user) = member("teamsExtensionUser") {
            let text = |name| required(user, "teamsExtensionUser", name);
            return Ok(Self::TeamsExtension {
                user_id: text("userId")?,
                tenant_id: text("tenantId")?,
                resource_id: text("resourceId")?,
                cloud: Cloud::from_name(user.get("cloud").and_then(Value::as_str)),
            });
        }
        match object.get("rawId").and_then(Value::as_str) {
            Some(raw_id) if !raw_id.is_empty() => Ok(Self::from_raw_id(raw_id)),
            _ => Err(
                "an identifier needs rawId, communicationUser, phoneNumber, \
                      microsoftTeamsUser, microsoftTeamsApp or teamsExtensionUser"
                    .to_owned(),
            ),
        }
    }

    /// Reads a raw id as the service writes it.
    pub(crate) fn from_raw_id(raw_id: &str) -> Self {
        let owned = str::to_owned;
        if let Some(number) = raw_id.strip_prefix("4:") {
            return Self::Phone {
                number: owned(number),
            };
        }
        if let Some(user_id) = raw_id.strip_prefix(ANONYMOUS_TEAMS_USER) {
            return Self::TeamsUser {
                user_id: owned(user_id),
                anonymous: true,
                cloud: Cloud::Public,
            };
        }
        for cloud in [Cloud::Public, Cloud::Dod, Cloud::Gcch] {
            if let Some(user_id) = raw_id.strip_prefix(cloud.teams_user_prefix()) {
                return Self::TeamsUser {
                    user_id: owned(user_id),
                    anonymous: false,
                    cloud,
                };
            }
            if let Some(app_id) = raw_id.strip_prefix(cloud.teams_app_prefix()) {
                return Self::TeamsApp {
                    app_id: owned(app_id),
                    cloud,
                };
            }
        }
        if raw_id.starts_with("8:") {
            return Self::User { id: owned(raw_id) };
        }
        Self::Unknown {
            raw_id: owned(raw_id),
        }
    }

    /// `rawId`: one string that identifies the participant everywhere.
    pub(crate) fn raw_id(&self) -> String {
        match self {
            Self::User { id } => id.clone(),
            Self::Phone { number } => format!("4:{number}"),
            Self::TeamsUser {
                user_id,
                anonymous: true,
                ..
            } => format!("{ANONYMOUS_TEAMS_USER}{user_id}"),
            Self::TeamsUser { user_id, cloud, .. } => {
                format!("{}{user_id}", cloud.teams_user_prefix())
            }
            Self::TeamsApp { app_id, cloud } => format!("{}{app_id}", cloud.teams_app_prefix()),
            Self::TeamsExtension {
                user_id,
                tenant_id,
                resource_id,
                ..
            } => format!("8:acs:{resource_id}_{tenant_id}_{user_id}"),
            Self::Unknown { raw_id } => raw_id.clone(),
        }
    }

    /// What a scenario's pattern is matched against: the number of a phone, the raw id of every other identity.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Phone { number } => number.clone(),
            _ => self.raw_id(),
        }
    }

    /// The model as GA responses and events carry it: with `kind` and `rawId`.
    pub(crate) fn to_json(&self) -> Value {
        let raw_id = self.raw_id();
        match self {
            Self::User { id } => json!({
                "kind": "communicationUser", "rawId": raw_id, "communicationUser": {"id": id},
            }),
            Self::Phone { number } => json!({
                "kind": "phoneNumber", "rawId": raw_id, "phoneNumber": {"value": number},
            }),
            Self::TeamsUser {
                user_id,
                anonymous,
                cloud,
            } => json!({
                "kind": "microsoftTeamsUser", "rawId": raw_id,
                "microsoftTeamsUser": {
                    "userId": user_id, "isAnonymous": anonymous, "cloud": cloud.name(),
                },
            }),
            Self::TeamsApp { app_id, cloud } => json!({
                "kind": "microsoftTeamsApp", "rawId": raw_id,
                "microsoftTeamsApp": {"appId": app_id, "cloud": cloud.name()},
            }),
            Self::TeamsExtension {
                user_id,
                tenant_id,
                resource_id,
                cloud,
            } => json!({
                "kind": "teamsExtensionUser", "rawId": raw_id,
                "teamsExtensionUser": {
                    "userId": user_id, "tenantId": tenant_id, "resourceId": resource_id,
                    "cloud": cloud.name(),
                },
            }),
            Self::Unknown { .. } => json!({"kind": "unknown", "rawId": raw_id}),
        }
    }
}

fn required(object: &Map<String, Value>, of: &str, name: &str) -> Result<String, String> {
    match object.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("{of}.{name} is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_one_number_are_one_identifier() {
        let phone = Identifier::Phone {
            number: "+15550100".to_owned(),
        };
        for spelling in [
            json!({"rawId": "4:+15550100", "phoneNumber": {"value": "+15550100"}}),
            json!({"kind": "phoneNumber", "phoneNumber": {"value": "+15550100", "isAnonymous": false}}),
            json!({"rawId": "4:+15550100"}),
            phone.to_json(),
        ] {
            assert_eq!(
                Identifier::from_json(&spelling),
                Ok(phone.clone()),
                "{spelling}"
            );
        }
    }

    #[test]
    fn every_raw_id_is_read_back() {
        for raw_id in [
            "8:acs:d6_0e",
            "4:+15550100",
            "8:orgid:1",
            "8:dod:1",
            "8:gcch:1",
            "8:teamsvisitor:1",
            "28:orgid:1",
            "28:gcch:1",
            "48:recording",
        ] {
            assert_eq!(Identifier::from_raw_id(raw_id).raw_id(), raw_id);
        }
    }

    #[test]
    fn an_identifier_without_a_participant_is_refused() {
        for (value, says) in [
            (json!("8:acs:1"), "is an object"),
            (json!({}), "needs rawId"),
            (json!({"kind": "phoneNumber"}), "needs rawId"),
            (json!({"phoneNumber": {}}), "phoneNumber.value"),
            (
                json!({"communicationUser": {"id": ""}}),
                "communicationUser.id",
            ),
        ] {
            let error = Identifier::from_json(&value).expect_err("names no participant");
            assert!(error.contains(says), "{error}");
        }
    }
}
