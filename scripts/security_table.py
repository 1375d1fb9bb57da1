"""Makes the table of docs/probes.md from the probe suite's record; see scripts/security-table."""

import json
import sys

SANDBOXES = ["isotest", "bwrap", "none"]
WHO = ["root", "user"]
START, END = "<!-- probes -->", "<!-- /probes -->"


def main(record_path, page_path):
    with open(record_path) as file:
        lines = [json.loads(line) for line in file]
    verdicts = {(l["topic"], l["name"], l["against"], l["who"]): l for l in lines}
    rows = {}
    for line in lines:
        rows.setdefault(line["topic"], {}).setdefault(line["name"], line)
    with open(page_path) as file:
        page = file.read()
    before, _, rest = page.partition(START)
    _, marker, after = rest.partition(END)
    if not marker:
        sys.exit(f"security-table: {page_path} lacks `{START}` or `{END}`")
    table = "\n".join(write(rows, verdicts))
    with open(page_path, "w") as file:
        file.write(f"{before}{START}\n{table}\n{END}{after}")


def write(rows, verdicts):
    count = sum(len(names) for names in rows.values())
    yield f"{count} probes. Held, as root / as an ordinary user:"
    yield ""
    yield "| | " + " | ".join(SANDBOXES) + " |"
    yield "|---|---|---|---|"
    for who in WHO:
        cells = []
        for sandbox in SANDBOXES:
            mine = [v for (_, _, s, w), v in verdicts.items() if s == sandbox and w == who]
            cells.append(f"{sum(v['verdict'] == 'held' for v in mine)} of {len(mine)}")
        yield f"| {'root' if who == 'root' else 'ordinary user'} | " + " | ".join(cells) + " |"
    notes = []
    for topic in sorted(rows):
        yield ""
        yield f"**{topic}**"
        yield ""
        yield "| probe | what is attempted | what must happen | after | isotest | bwrap | none |"
        yield "|---|---|---|---|---|---|---|"
        for name in sorted(rows[topic]):
            row = rows[topic][name]
            cells = [cell(topic, name, sandbox, verdicts, notes) for sandbox in SANDBOXES]
            texts = [text(row[key]) for key in ("attempt", "must", "source")]
            yield f"| `{name}` | " + " | ".join(texts + cells) + " |"
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"{number}. {note}"


def cell(topic, name, sandbox, verdicts, notes):
    """The verdict as root and as a user, once where they agree, with the number of its note."""
    both = [verdicts.get((topic, name, sandbox, who)) for who in WHO]
    words = [{"held": "held", "escaped": "**escapes**"}.get(v["verdict"], "?") if v else "–" for v in both]
    result = words[0] if words[0] == words[1] else " / ".join(words)
    wanted = "held" if sandbox == "none" else "escaped"
    said = [v["note"] for v in both if v and v["note"] and v["verdict"] == wanted]
    if not said:
        return result
    if said[0] not in notes:
        notes.append(said[0])
    return f"{result} ({notes.index(said[0]) + 1})"


def text(value):
    return value.replace("|", "\\|").replace("*", "\\*")


main(*sys.argv[1:])
