//! What a handler may ask of a request. Whatever is wrong becomes a problem.

use std::{collections::BTreeMap, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{
    ApiState,
    problem::{Code, Problem},
};
use crate::{
    clock,
    domain::Role,
    service::token::{Identity, TokenError},
};

/// Characters of a library's message about a field that are passed on: it may quote what was sent.
const MAX_MESSAGE: usize = 200;

/// A JSON object.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::UnsupportedMediaType).detail("send the body as application/json"));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| body_problem(&rejection))?;
        parse(&body).map(Self)
    }
}

/// The parameters in the path. What does not parse names nothing.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(Code::NotFound)),
        }
    }
}

/// Which part of a list is asked for: `?limit=&after=`.
pub struct Paging<A, const MAX: u32 = 100> {
    /// 1 to `MAX`, 20 if not said.
    pub limit: u32,
    pub after: Option<A>,
}

impl<S: Send + Sync, A: FromStr, const MAX: u32> FromRequestParts<S> for Paging<A, MAX> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        type Pairs = Vec<(String, String)>;
        let query = axum::extract::Query::<Pairs>::try_from_uri(&parts.uri);
        let pairs = query.map_err(|_| Problem::invalid_field("query", "cannot be decoded"))?.0;
        let mut paging = Self { limit: 20, after: None };
        let mut errors = BTreeMap::new();
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => match value.parse() {
                    Ok(limit) if (1..=MAX).contains(&limit) => paging.limit = limit,
                    _ => _ = errors.insert(name, format!("must be a number from 1 to {MAX}")),
                },
                "after" => match value.parse() {
                    Ok(after) => paging.after = Some(after),
                    Err(_) => _ = errors.insert(name, "must be a cursor that a list has given".to_owned()),
                },
                _ => {}
            }
        }
        if errors.is_empty() { Ok(paging) } else { Err(Problem::invalid(errors)) }
    }
}

/// Somebody who has logged in. As an `Option`: also a visitor, or somebody whose token is worth nothing any more.
pub struct Auth(pub Identity);

impl FromRequestParts<ApiState> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(|| Problem::new(Code::NotAuthenticated))?;
        Ok(Self(state.tokens.verify(token, clock::now())?))
    }
}

impl OptionalFromRequestParts<ApiState> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Option<Self>, Problem> {
        let token = bearer(&parts.headers).ok_or(TokenError::Invalid);
        Ok(token.and_then(|token| state.tokens.verify(token, clock::now())).ok().map(Self))
    }
}

/// An administrator.
pub struct Admin(pub Identity);

impl FromRequestParts<ApiState> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let Auth(identity) = <Auth as FromRequestParts<ApiState>>::from_request_parts(parts, state).await?;
        match identity.role {
            Role::Admin => Ok(Self(identity)),
            Role::Shopper => Err(Problem::new(Code::Forbidden)),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn body_problem(rejection: &BytesRejection) -> Problem {
    Problem::new(match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        _ => Code::BadRequest,
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // The whole body first: malformed is malformed, whatever else is wrong with it.
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| json_problem("", &error))?;
    // Structs could also be read from arrays; the contract has objects only.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::invalid_field("body", "must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, &error.into_inner())
    })
}

/// Names of our types are not what a client knows.
fn in_plain_words(message: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number that is not negative"),
        ("expected i64", "expected a whole number"),
        ("expected i32", "expected a whole number from -2147483648 to 2147483647"),
    ];
    WORDS.iter().fold(message.to_owned(), |message, (ours, plain)| message.replace(ours, plain))
}

fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // Where in the text it is says less than which field it is.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    if !error.is_data() {
        return Problem::new(Code::MalformedJson).detail(error.to_string());
    }
    let message = in_plain_words(message);
    let message = message.as_str();
    // A missing field is reported where it is missing, not by its own path.
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let (field, message) = match (path, missing) {
        ("." | "", Some(field)) => (field.to_owned(), "is missing"),
        (_, Some(field)) => (format!("{path}.{field}"), "is missing"),
        ("." | "", None) => ("body".to_owned(), message),
        (_, None) => (path.to_owned(), message),
    };
    Problem::invalid_field(field, message.chars().take(MAX_MESSAGE).collect::<String>())
}
