//! Accounts: users, and their sessions.

use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::accounts::{
    InvalidField, Login, NewUser, REFRESH_TOKEN_LIFETIME, Role, Session, User, UserChange,
};
use bazaar_rpc::{Timestamp, UserId};
use tonic::{Request, Response, Status};

use super::caller::{address, caller};
use super::convert::{malformed, timestamp};
use super::proto;
use super::proto::users_server::Users;
use crate::Error;
use crate::http::Frontend;

/// Serves `bazaar.v1.Users`.
pub(super) struct Service(pub(super) Arc<Frontend>);

#[tonic::async_trait]
impl Users for Service {
    async fn register(
        &self,
        request: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let address = address(request.extensions());
        let new = new_user(request.into_inner())?;
        let accounts = &self.0.accounts;
        let user = accounts
            .change(|it, context| async move { it.register(context, new, address).await })
            .await?;
        Ok(Response::new(user.into()))
    }

    async fn login(
        &self,
        request: Request<proto::LoginRequest>,
    ) -> Result<Response<proto::Tokens>, Status> {
        let address = address(request.extensions());
        let proto::LoginRequest {
            user_name,
            password,
        } = request.into_inner();
        let login = Login {
            user_name: field("user_name", user_name)?,
            password: field("password", password)?,
        };
        let (accounts, asked) = (&self.0.accounts, Timestamp::now());
        let session = accounts
            .ask(|it, context| async move { it.login(context, login, address).await })
            .await?;
        Ok(Response::new(tokens(session, asked)))
    }

    async fn refresh(
        &self,
        request: Request<proto::RefreshRequest>,
    ) -> Result<Response<proto::Tokens>, Status> {
        let token = field("refresh_token", request.into_inner().refresh_token)?;
        let (accounts, asked) = (&self.0.accounts, Timestamp::now());
        let session = accounts
            .change(|it, context| async move { it.refresh(context, token).await })
            .await?;
        Ok(Response::new(tokens(session, asked)))
    }

    async fn logout(
        &self,
        request: Request<proto::LogoutRequest>,
    ) -> Result<Response<proto::LogoutResponse>, Status> {
        let token = field("refresh_token", request.into_inner().refresh_token)?;
        let accounts = &self.0.accounts;
        accounts
            .change(|it, context| async move { it.logout(context, token).await })
            .await?;
        Ok(Response::new(proto::LogoutResponse {}))
    }

    async fn get(
        &self,
        request: Request<proto::GetUserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let caller = caller(&self.0, request.metadata())?.caller();
        let user = UserId(request.into_inner().number);
        let accounts = &self.0.accounts;
        let user = accounts
            .ask(|it, context| async move { it.get(context, caller, user).await })
            .await?;
        Ok(Response::new(user.into()))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateUserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let caller = caller(&self.0, request.metadata())?.caller();
        let request = request.into_inner();
        let user = UserId(request.number);
        let change = change(request)?;
        let accounts = &self.0.accounts;
        let user = accounts
            .change(|it, context| async move { it.update(context, caller, user, change).await })
            .await?;
        Ok(Response::new(user.into()))
    }

    /// Looks the user up before the change and not after it, so that it is the change that decides
    /// what the caller is told.
    async fn deactivate(
        &self,
        request: Request<proto::DeactivateUserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let caller = caller(&self.0, request.metadata())?.caller();
        let number = UserId(request.into_inner().number);
        let accounts = &self.0.accounts;
        let user = accounts
            .ask(|it, context| async move { it.get(context, caller, number).await })
            .await?;
        accounts
            .change(|it, context| async move { it.deactivate(context, caller, number).await })
            .await?;
        let user = User {
            active: false,
            ..user
        };
        Ok(Response::new(user.into()))
    }
}

/// What a text field holds.
fn field<T: TryFrom<String, Error = InvalidField>>(name: &str, text: String) -> Result<T, Error> {
    T::try_from(text).map_err(|error| malformed(name, error))
}

/// What a text field holds, where it is present.
fn present<T: TryFrom<String, Error = InvalidField>>(
    name: &str,
    text: Option<String>,
) -> Result<Option<T>, Error> {
    text.map(|text| field(name, text)).transpose()
}

fn new_user(request: proto::RegisterRequest) -> Result<NewUser, Error> {
    Ok(NewUser {
        student_id: field("student_id", request.student_id)?,
        user_name: field("user_name", request.user_name)?,
        email: field("email", request.email)?,
        password: field("password", request.password)?,
    })
}

fn change(request: proto::UpdateUserRequest) -> Result<UserChange, Error> {
    Ok(UserChange {
        user_name: present("user_name", request.user_name)?,
        email: present("email", request.email)?,
        password: present("password", request.password)?,
        current_password: present("current_password", request.current_password)?,
    })
}

impl From<User> for proto::User {
    fn from(user: User) -> Self {
        Self {
            number: user.id.0,
            student_id: user.student_id.into(),
            user_name: user.user_name.into(),
            email: user.email.into(),
            role: proto::Role::from(user.role).into(),
            active: user.active,
            created_at: Some(timestamp(user.created_at)),
        }
    }
}

impl From<Role> for proto::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Customer => Self::Customer,
            Role::Admin => Self::Admin,
        }
    }
}

/// The tokens of a session that was asked for at `asked`: they were issued since, so they are good at
/// least as long as is said.
fn tokens(session: Session, asked: Timestamp) -> proto::Tokens {
    let after = |length: Duration| {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Some(timestamp(Timestamp(asked.0.saturating_add(millis))))
    };
    proto::Tokens {
        access_token: session.tokens.access.into(),
        access_expires_at: after(session.tokens.expires_in),
        refresh_token: session.tokens.refresh.into(),
        refresh_expires_at: after(REFRESH_TOKEN_LIFETIME),
        user: session.user.0,
    }
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::accounts::{Secret, Tokens};
    use prost::Message as _;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into()).unwrap()
    }

    /// Clients hold on to these bytes: whoever breaks this test breaks them.
    #[test]
    fn the_bytes_of_a_user() {
        let user = User {
            id: UserId(300),
            student_id: "007".parse().unwrap(),
            user_name: "alice".parse().unwrap(),
            email: "a@b".parse().unwrap(),
            role: Role::Admin,
            active: true,
            created_at: Timestamp(1_000_000_000_005),
        };
        let expected: &[&[u8]] = &[
            // 1, number: varint 300.
            &[0x08, 0xac, 0x02],
            // 2, student_id: 3 bytes.
            &[0x12, 3],
            b"007",
            // 3, user_name: 5 bytes.
            &[0x1a, 5],
            b"alice",
            // 4, email: 3 bytes.
            &[0x22, 3],
            b"a@b",
            // 5, role: ROLE_ADMIN.
            &[0x28, 2],
            // 6, active: true.
            &[0x30, 1],
            // 7, created_at: a message of 11 bytes,
            &[0x3a, 11],
            // whose field 1, seconds, is varint 10^9,
            &[0x08, 0x80, 0x94, 0xeb, 0xdc, 0x03],
            // and whose field 2, nanos, is varint 5,000,000.
            &[0x10, 0xc0, 0x96, 0xb1, 0x02],
        ];
        assert_eq!(proto::User::from(user).encode_to_vec(), expected.concat());
    }

    #[test]
    fn the_bytes_of_an_update() {
        let bytes: &[&[u8]] = &[
            // 1, number: varint 300.
            &[0x08, 0xac, 0x02],
            // 2, user_name: 5 bytes.
            &[0x12, 5],
            b"alice",
            // 4, password: 11 bytes.
            &[0x22, 11],
            b"open sesame",
            // 5, current_password: 1 byte.
            &[0x2a, 1],
            b"x",
        ];
        let request = proto::UpdateUserRequest::decode(&*bytes.concat()).unwrap();
        assert_eq!(request.number, 300);
        let change = change(request).unwrap();
        assert_eq!(change.user_name, Some("alice".parse().unwrap()));
        assert_eq!(change.email, None);
        let password = change.password.unwrap();
        assert_eq!(password.secret(), &secret("open sesame"));
        assert_eq!(change.current_password, Some(secret("x")));
    }

    #[test]
    fn the_bytes_of_tokens_say_until_when_they_are_good() {
        let session = Session {
            user: UserId(9),
            tokens: Tokens {
                access: secret("a"),
                expires_in: Duration::from_secs(5),
                refresh: secret("r"),
            },
        };
        let asked = Timestamp(1_000_000_000_000 - 5000);
        let expected: &[&[u8]] = &[
            // 1, access_token: 1 byte.
            &[0x0a, 1],
            b"a",
            // 2, access_expires_at: a message of 6 bytes, whose field 1, seconds, is varint 10^9.
            &[0x12, 6, 0x08, 0x80, 0x94, 0xeb, 0xdc, 0x03],
            // 3, refresh_token: 1 byte.
            &[0x1a, 1],
            b"r",
            // 4, refresh_expires_at: likewise, 30 days less 5 s later.
            &[0x22, 6, 0x08, 0xfb, 0xad, 0x89, 0xde, 0x03],
            // 5, user: varint 9.
            &[0x28, 9],
        ];
        let bytes = tokens(session, asked).encode_to_vec();
        assert_eq!(bytes, expected.concat());
    }
}
