//! HTML that cannot be injected into: text goes in only through an escape.

use std::fmt::{Display, Write as _};

use pnwatch_core::time::Timestamp;

/// A growing piece of HTML. Tags and classes are literals of the program; everything else is
/// escaped for element content and quoted attributes (WHATWG HTML §13.3).
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds markup of the program's own.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, escaped.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        let mut escaped = Escaped(&mut self.0);
        // Writing into a string does not fail.
        let _ = write!(escaped, "{text}");
        self
    }

    /// An element with a class (may be empty) and text.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        class: &'static str,
        text: impl Display,
    ) -> &mut Self {
        self.open(tag, class).text(text).close(tag)
    }

    /// A start tag.
    pub(super) fn open(&mut self, tag: &'static str, class: &'static str) -> &mut Self {
        self.raw("<").raw(tag);
        if !class.is_empty() {
            self.raw(" class=\"").raw(class).raw("\"");
        }
        self.raw(">")
    }

    /// An end tag.
    pub(super) fn close(&mut self, tag: &'static str) -> &mut Self {
        self.raw("</").raw(tag).raw(">")
    }

    /// `<a href="BASE NAME">text</a>`; `name` is percent-encoded (RFC 3986 §2.1) but for its `/`.
    pub(super) fn link(&mut self, base: &'static str, name: &str, text: impl Display) -> &mut Self {
        self.raw("<a href=\"").raw(base);
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                // Writing into a string does not fail.
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
        self.raw("\">").text(text).raw("</a>")
    }

    /// A time of day with the whole instant as its title.
    pub(super) fn time(&mut self, at: Timestamp, text: impl Display) -> &mut Self {
        self.raw("<time datetime=\"")
            .text(at)
            .raw("\" title=\"")
            .text(at);
        self.raw("\">").text(text).raw("</time>")
    }

    /// Text in which backticks mark code and `**` marks what is strong; every other mark stays
    /// as it was written.
    pub(super) fn spans(&mut self, text: &str) -> &mut Self {
        for (n, part) in text.split('`').enumerate() {
            if n % 2 == 1 {
                self.element("code", "", part);
                continue;
            }
            for (n, part) in part.split("**").enumerate() {
                if n % 2 == 1 {
                    self.element("strong", "", part);
                } else {
                    self.text(part);
                }
            }
        }
        self
    }

    /// The finished text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Html;

    #[test]
    fn a_name_cannot_leave_its_link() {
        let mut html = Html::new();
        html.link("/findings/", "node-a b\"></a>é-1", "<x>");
        assert_eq!(
            html.finish(),
            "<a href=\"/findings/node-a%20b%22%3E%3C/a%3E%C3%A9-1\">&lt;x&gt;</a>"
        );
    }

    #[test]
    fn text_cannot_leave_its_place() {
        let mut html = Html::new();
        html.element("p", "x", "<script>alert('1')</script> & \"q\"");
        assert_eq!(
            html.finish(),
            "<p class=\"x\">&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;q&quot;</p>"
        );
    }
}
