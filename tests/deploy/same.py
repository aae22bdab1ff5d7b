"""Compares what real Helm rendered with the committed manifests, object by object.

    python3 tests/deploy/same.py HELM-OUTPUT deploy/manifests/NAME/pnwatch.yaml

Left out on both sides: the test Pod, copies of alerts/ and dashboards/ (not committed), and the
checksum of the configuration, whose text may be spelt differently.
"""

import sys

import yaml


def objects(path):
    found = {}
    with open(path, encoding="utf-8") as file:
        for item in yaml.safe_load_all(file):
            if not item:
                continue
            about = item["metadata"]
            if "helm.sh/hook" in about.get("annotations", {}):
                continue
            if item["kind"] == "PrometheusRule" or "-board-" in about["name"]:
                continue
            template = item.get("spec", {}).get("template", {})
            template.get("metadata", {}).get("annotations", {}).pop("checksum/config", None)
            # The text inside is YAML too.
            for key, text in item.get("data", {}).items():
                item["data"][key] = yaml.safe_load(text)
            found[(item["kind"], about.get("namespace"), about["name"])] = item
    return found


def differences(left, right, path=""):
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(set(left) | set(right)):
            yield from differences(left.get(key), right.get(key), f"{path}.{key}")
    elif left != right and (left or None) != (right or None):
        yield f"{path}: helm {left!r}, committed {right!r}"


def main():
    helm, committed = (objects(path) for path in sys.argv[1:3])
    if not helm or not committed:
        sys.exit("nothing to compare")
    wrong = [f"only {'helm' if key in helm else 'committed'}: {key}" for key in set(helm) ^ set(committed)]
    for key in set(helm) & set(committed):
        wrong += [f"{'/'.join(map(str, key))}{line}" for line in differences(helm[key], committed[key])]
    print("\n".join(wrong) or f"{len(helm)} objects, the same")
    sys.exit(bool(wrong))


main()
