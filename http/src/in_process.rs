//! Asking a router from within its own process, where nothing listens.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, StatusCode};
use hyper::body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// Sends a request, with a body of JSON where there is one, and gives status and body of the answer.
///
/// # Errors
/// When the target is none.
pub async fn ask(
    filter: BoxedFilter<(Response,)>,
    method: Method,
    target: &str,
    body: Option<String>,
) -> Result<(StatusCode, Bytes), String> {
    let mut request = http::Request::builder().method(method).uri(target).header(HOST, "localhost");
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(body.unwrap_or_default()).map_err(|why| why.to_string())?;
    let Ok(response) = TowerToHyperService::new(warp::service(filter)).call(request).await;
    let (head, body) = response.into_parts();
    let (mut body, mut whole) = (pin!(body), BytesMut::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame.map_err(|why| why.to_string())?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok((head.status, whole.freeze()))
}
