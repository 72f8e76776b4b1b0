//! The `Connection` header of an answer (Z3).

use http_types::{
    Headers, Method, StatusCode,
    headers::{CONNECTION, HeaderValues},
};

/// Returns whether `option` is among the options in `values`.
pub(crate) fn has(values: Option<&HeaderValues>, option: &str) -> bool {
    options(values).any(|one| one.eq_ignore_ascii_case(option))
}

/// Returns whether an answer may say `close`: an interim one or one that opens a tunnel may not.
pub(crate) fn may_close(method: Method, status: StatusCode) -> bool {
    !(status.is_informational() || method == Method::Connect && status.is_success())
}

/// Adds `close` to the options of the header, e.g. to the `upgrade` of a 426, and removes
/// `keep-alive`.
pub(crate) fn close(headers: &mut Headers) {
    let others = options(headers.get(CONNECTION)).filter(|option| {
        let replaced = ["close", "keep-alive"];
        !replaced.iter().any(|one| option.eq_ignore_ascii_case(one))
    });
    let mut value = String::new();
    for option in others {
        value.push_str(option);
        value.push_str(", ");
    }
    value.push_str("close");
    headers.insert(CONNECTION, value);
}

fn options(values: Option<&HeaderValues>) -> impl Iterator<Item = &str> {
    let values = values.into_iter().flatten();
    let options = values.flat_map(|value| value.as_str().split(','));
    options.map(str::trim).filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(values: &[&str]) -> String {
        let mut response = http_types::Response::new(200);
        for value in values {
            response.append_header(CONNECTION, *value);
        }
        close(response.as_mut());
        assert_eq!(response[CONNECTION].iter().count(), 1);
        response[CONNECTION].as_str().to_owned()
    }

    /// Z3: `close` stands beside other options, and never beside `keep-alive`.
    #[test]
    fn close_is_added_to_the_other_options() {
        assert_eq!(closed(&[]), "close");
        assert_eq!(closed(&["upgrade"]), "upgrade, close");
        assert_eq!(closed(&["Keep-Alive, te", "Close"]), "te, close");
    }

    /// Z3: not on an interim answer, and not on the 2xx of CONNECT.
    #[test]
    fn answers_that_begin_something_do_not_say_close() {
        assert!(may_close(Method::Get, StatusCode::Ok));
        assert!(may_close(Method::Connect, StatusCode::NotFound));
        assert!(may_close(Method::Get, StatusCode::UpgradeRequired));
        assert!(!may_close(Method::Connect, StatusCode::Ok));
        assert!(!may_close(Method::Get, StatusCode::SwitchingProtocols));
    }
}
