//! Takes what may be private out of URLs, paths and names, in place.

/// Reduces a URL to scheme, host, port and path.
pub(super) fn reduce_url(url: &mut String) {
    reduce_path(url);
    let Some(authority) = url.find("//").map(|at| at + 2) else {
        // Without an authority all after the scheme is opaque: `data:`, `mailto:`, `tel:`.
        if let Some(colon) = url.find(':').filter(|_| !url.starts_with('/')) {
            url.truncate(colon + 1);
        }
        return;
    };
    let Some((_, rest)) = url.split_at_checked(authority) else { return };
    let length = rest.find(['/', '\\']).unwrap_or(rest.len());
    if let Some((host, _)) = rest.split_at_checked(length)
        && let Some(at) = host.rfind('@')
    {
        url.replace_range(authority..=authority + at, "");
    }
}

/// Cuts query, fragment and path parameters (`;jsessionid=…`) off.
pub(super) fn reduce_path(path: &mut String) {
    if let Some(end) = path.find(['?', '#', ';']) {
        path.truncate(end);
    }
}

/// Cuts the query off a name that holds a path: `GET /search?q=…`.
pub(super) fn reduce_name(name: &mut String) {
    if let Some(query) = name.find('?')
        && name.find('/').is_some_and(|slash| slash < query)
    {
        name.truncate(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reduce: fn(&mut String), text: &str, expected: &str) {
        let mut reduced = text.to_owned();
        reduce(&mut reduced);
        assert_eq!(reduced, expected, "{text}");
    }

    /// Guarantees that nothing of a URL is left but scheme, host, port and path.
    #[test]
    fn urls_keep_scheme_host_and_path() {
        check(
            reduce_url,
            "https://api.example.com:8443/v1/rooms",
            "https://api.example.com:8443/v1/rooms",
        );
        check(
            reduce_url,
            "https://me:pw@api.example.com/v1?token=x#y",
            "https://api.example.com/v1",
        );
        check(reduce_url, "wss://a@b@host", "wss://host");
        check(reduce_url, "https://host/a@b/c", "https://host/a@b/c");
        check(reduce_url, "https://host/c;jsessionid=1", "https://host/c");
        check(reduce_url, "https://host?q=//u@v", "https://host");
        check(reduce_url, "//u:p@host/x", "//host/x");
        check(reduce_url, "/only/path?q", "/only/path");
        check(reduce_url, "data:text/plain,secret", "data:");
        check(reduce_url, "mailto:me@example.com", "mailto:");
        check(reduce_url, "https://ü@host/ü", "https://host/ü");
        check(reduce_url, "", "");
    }

    /// Guarantees that paths and names lose their query, and that names without a path stay whole.
    #[test]
    fn paths_and_names_lose_their_query() {
        check(reduce_path, "/rooms/{id}?since=1", "/rooms/{id}");
        check(reduce_path, "/rooms#top", "/rooms");
        check(reduce_name, "GET /search?q=private", "GET /search");
        check(reduce_name, "Ready?", "Ready?");
        check(reduce_name, "Really? a/b", "Really? a/b");
    }
}
