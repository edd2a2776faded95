//! Users and sessions over REST.

use axum::{Json as Answer, extract::State, http::StatusCode, response::IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    check::Checks,
    created,
    extract::{Admin, Auth, Json},
    problem::{Code, Problem},
};
use crate::{
    clock,
    domain::{Timestamp, User, UserId},
    random,
    service::user::{DisplayName, Email, Password, Session},
    store::port::MAX_USERS_AT_ONCE,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(register_many))
        .routes(routes!(log_in))
        .routes(routes!(me, rename))
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Registration {
    #[schema(min_length = 3, max_length = 254, example = "ann@example.org")]
    email: String,
    #[schema(min_length = 8, max_length = 128, format = Password)]
    password: String,
    #[schema(min_length = 1, max_length = 80)]
    display_name: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
struct BulkRegistration {
    #[schema(minimum = 1, maximum = 1000)]
    count: usize,
}

/// A test shopper, who has no password and so cannot log in again.
#[derive(Serialize, utoipa::ToSchema)]
struct TestShopper {
    user_id: UserId,
    token: String,
    expires_at: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
struct TestShoppers {
    data: Vec<TestShopper>,
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Credentials {
    email: String,
    #[schema(format = Password)]
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
struct ProfilePatch {
    #[schema(min_length = 1, max_length = 80)]
    display_name: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
struct SessionBody {
    /// For `Authorization: Bearer` and for `hello`.
    token: String,
    expires_at: Timestamp,
    user: User,
}

/// Register.
#[utoipa::path(post, path = "/users", tag = "users", request_body = Registration, responses(
    (status = 201, body = User, headers(("Location" = String))),
    (status = 409, description = "`email_taken`"),
))]
async fn register(
    State(state): State<ApiState>,
    Json(body): Json<Registration>,
) -> Result<impl IntoResponse, Problem> {
    let mut checks = Checks::default();
    let email = checks.parsed("email", Email::parse(&body.email));
    let password = checks.parsed("password", Password::parse(body.password));
    let display_name = checks.parsed("display_name", DisplayName::parse(&body.display_name));
    checks.finish()?;
    let (Some(email), Some(password), Some(display_name)) = (email, password, display_name) else {
        return Err(Problem::new(Code::ValidationFailed));
    };
    let user = state.users.register(email, password, display_name, clock::now()).await?;
    Ok(created("/api/v1/users/me".to_owned(), user))
}

/// Register many test shoppers with sessions and without passwords, for load tests.
#[utoipa::path(post, path = "/users/bulk", tag = "users", security(("bearer" = ["admin"])), request_body = BulkRegistration,
    responses((status = 201, body = TestShoppers)))]
async fn register_many(
    State(state): State<ApiState>,
    _: Admin,
    Json(body): Json<BulkRegistration>,
) -> Result<impl IntoResponse, Problem> {
    if !(1..=MAX_USERS_AT_ONCE).contains(&body.count) {
        return Err(Problem::invalid_field(
            "count",
            format!("must be a number from 1 to {MAX_USERS_AT_ONCE}"),
        ));
    }
    let sessions = state.users.enrol_many(body.count, random::uuid(), clock::now()).await?;
    let shopper = |session: Session| TestShopper {
        user_id: session.user.id,
        token: session.token,
        expires_at: session.expires_at,
    };
    Ok((StatusCode::CREATED, Answer(TestShoppers { data: sessions.into_iter().map(shopper).collect() })))
}

/// Log in. An unknown e-mail address gets the same answer as a wrong password.
#[utoipa::path(post, path = "/sessions", tag = "users", request_body = Credentials, responses(
    (status = 201, body = SessionBody, headers(("Location" = String))),
    (status = 401, description = "`bad_credentials`"),
    (status = 429, description = "`rate_limited`"),
))]
async fn log_in(
    State(state): State<ApiState>,
    Json(body): Json<Credentials>,
) -> Result<impl IntoResponse, Problem> {
    let session = state.users.log_in(&body.email, body.password, clock::now()).await?;
    let body = SessionBody { token: session.token, expires_at: session.expires_at, user: session.user };
    Ok(created("/api/v1/users/me".to_owned(), body))
}

/// The own profile.
#[utoipa::path(get, path = "/users/me", tag = "users", security(("bearer" = [])), responses(
    (status = 200, body = User),
))]
async fn me(State(state): State<ApiState>, Auth(identity): Auth) -> Result<Answer<User>, Problem> {
    found(state.users.user(identity.user_id).await?)
}

/// Change the own profile.
#[utoipa::path(patch, path = "/users/me", tag = "users", security(("bearer" = [])), request_body = ProfilePatch,
    responses((status = 200, body = User)))]
async fn rename(
    State(state): State<ApiState>,
    Auth(identity): Auth,
    Json(body): Json<ProfilePatch>,
) -> Result<Answer<User>, Problem> {
    let Some(display_name) = body.display_name else {
        return found(state.users.user(identity.user_id).await?);
    };
    let display_name = DisplayName::parse(&display_name)
        .map_err(|invalid| Problem::invalid_field("display_name", invalid.to_string()))?;
    found(state.users.rename(identity.user_id, display_name).await?)
}

/// A token may outlive its user's row, if the database was replaced.
fn found(user: Option<User>) -> Result<Answer<User>, Problem> {
    user.map(Answer).ok_or_else(|| Problem::new(Code::NotAuthenticated))
}
