//! The web page: the files of `web/`, which are part of the program.

use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// Answers whatever no route does: with a file of the page, or with a problem.
pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    match Files::get(path) {
        None => Problem::new(Code::NotFound).into_response(),
        Some(file) if method == Method::GET || method == Method::HEAD => answer(path, file, &headers),
        Some(_) => {
            let allow = [(header::ALLOW, HeaderValue::from_static("GET,HEAD"))];
            (allow, Problem::new(Code::MethodNotAllowed)).into_response()
        }
    }
}

/// The browser keeps the file and asks each time whether it has changed. (The server drops the body of an answer to HEAD.)
fn answer(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let kept = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if matches(headers, &etag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let content_type = content_type(path, file.metadata.mimetype());
    (kept, [(header::CONTENT_TYPE, content_type)], file.data).into_response()
}

/// Text is UTF-8, and says so.
fn content_type(path: &str, guessed: &str) -> String {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js" | "mjs") => "text/javascript; charset=utf-8".to_owned(),
        _ if guessed.starts_with("text/") => format!("{guessed}; charset=utf-8"),
        _ => guessed.to_owned(),
    }
}

fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let asked = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    asked
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
