//! Just enough of a reader of documents to check ours.

/// A start tag and its attributes, or an end tag, in the order of the document.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) closes: bool,
}

impl Tag {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the tags of a document of the plain form that our renderer writes: every attribute quoted,
/// every `<` of text escaped.
pub(super) fn tags(html: &str) -> Vec<Tag> {
    let mut found = Vec::new();
    for piece in html.split('<').skip(1) {
        let (inside, _) = piece.split_once('>').expect("every tag is closed");
        if inside.starts_with('!') {
            continue;
        }
        let closes = inside.starts_with('/');
        let inside = inside.trim_start_matches('/');
        let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
        let mut attributes = Vec::new();
        while !rest.trim().is_empty() {
            rest = rest.trim_start();
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            if let Some(quoted) = after.strip_prefix("=\"") {
                let (value, after) = quoted.split_once('"').expect("every value is quoted");
                attributes.push((key.to_owned(), value.to_owned()));
                rest = after;
            } else {
                attributes.push((key.to_owned(), String::new()));
                rest = after;
            }
        }
        found.push(Tag { name: name.to_owned(), attributes, closes });
    }
    found
}

/// The text of a document, without its tags.
pub(super) fn text(html: &str) -> String {
    html.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text).collect()
}
