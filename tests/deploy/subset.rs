//! The renderer itself: it refuses what lies outside the subset, and renders the rest as Helm does.

use std::collections::BTreeMap;

use serde_json::json;

use crate::template::{Defined, World, read};

#[test]
fn other_constructs_of_helm_are_refused() {
    let files = BTreeMap::new();
    for bad in [
        "{{ tpl .a . }}",
        "{{ lookup \"v1\" \"Pod\" \"a\" \"b\" }}",
        "{{ .a.missing }}",
        "{{ template \"x\" . }}",
        "{{ block \"x\" . }}{{ end }}",
        "{{ if .a }}",
        "{{ end }}",
        "{{ .a | upper }}",
        "{{ required \"x\" .a }}",
        "{{ $x := 1 }}",
        "{{ index .a 0 }}",
        "{{ .list }}",
        "{{ printf \"%s\" .a }}",
        "{{ \"\\n\" }}",
        "{{ `raw` }}",
        "{{ .a",
        "{{ $none }}",
        "{{ .Files.Get \"none\" }}",
        "{{ include \"none\" . }}",
        "{{ range .a }}{{ end }}",
        "{{ define \"x\" }}{{ end }}{{ define \"x\" }}{{ end }}",
    ] {
        let mut defined = Defined::new();
        let rendered = read(bad, &mut defined).and_then(|nodes| {
            let world = World {
                defined: &defined,
                files: &files,
            };
            world.render(&nodes, &json!({ "a": "text", "list": [1] }))
        });
        assert!(rendered.is_err(), "{bad} gave {rendered:?}");
    }
}

#[test]
fn the_subset_renders_as_helm_does() {
    let root = json!({ "a": "x", "none": "", "list": [{ "n": 1 }, { "n": 2 }], "map": { "k": "v: 1", "deep": [] } });
    for (template, expected) in [
        ("a  {{- /* }} */ -}}  b", "ab"),
        (
            "{{ if .none }}1{{ else if eq .a \"x\" }}2{{ else }}3{{ end }}",
            "2",
        ),
        ("{{ if and .a (not .none) }}1{{ end }}", "1"),
        ("{{ range .list }}<{{ .n }}{{ $.a }}>{{ end }}", "<1x><2x>"),
        (
            "{{ range $k, $v := .list }}{{ $k }}{{ $v.n }},{{ end }}",
            "01,12,",
        ),
        ("{{ range $i := until (int 3) }}{{ $i }}{{ end }}", "012"),
        (
            "{{ with .none }}1{{ else }}2{{ end }}{{ with .a }}{{ . }}{{ end }}",
            "2x",
        ),
        (
            "m:\n  {{- toYaml .map | nindent 2 }}\n",
            "m:\n  deep: []\n  k: \"v: 1\"\n",
        ),
        (
            "m: {{- toYaml .list | nindent 2 }}",
            "m:\n  - n: 1\n  - n: 2",
        ),
        (
            "{{ define \"d\" }}[{{ .a }}]{{ end }}{{ include \"d\" . | quote }}",
            "\"[x]\"",
        ),
        (
            "{{ .a | replace \"x\" \"y\" }}{{ base \"p/q.json\" | trimSuffix \".json\" }}",
            "yq",
        ),
        (
            "{{ \"\" | sha256sum }}",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
    ] {
        let mut defined = Defined::new();
        let nodes = read(template, &mut defined).unwrap();
        let world = World {
            defined: &defined,
            files: &BTreeMap::new(),
        };
        assert_eq!(world.render(&nodes, &root).unwrap(), expected, "{template}");
    }
}
