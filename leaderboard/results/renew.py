"""Brings records to the present ids: `python leaderboard/results/renew.py [FOLDER ...] [--write]`.

Where the form of ids has changed: of each record, the hash of its method's source is computed again from the commit that the
record names, by that commit's own code, or by a later form of version 1, to which early records were brought when it came.
Where it is the record's, the present hash of the same code takes its place, with it the run's id, the ids of its results and
the name of its folder; the old ones stay in the record (`former`). A record is left as it is, and named, where the hash is
another, where the commit is gone, or where it was made from uncommitted changes: it must be made again. A further test whose
code no commit has is left out, and the command that tests again is printed.

Where methods were rewritten without another computation: `... --rewritten-since COMMIT [--write] [--jobs N]`. Of each record
whose hash is not that of the present code, the hash must be what the code of COMMIT gives, and that code and the present one
must compute the same on this machine, bit for bit: the first updates of its training, a part of its validation, and the
first episodes of its tests. The tests are with the record's own weights where they are at hand (beside the record, or below
`--weights`), and then the scores must be those recorded, too; else with the weights after the updates that were compared.
Then the present hash takes the old one's place as above, and `former` says since which commit and how much was compared,
and holds the ids before. Any other record is left, and named.

Without `--write` it says what it would do. What is done is not done again; FOLDER: the records beside this file.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commits import HERE, Code, Commits, Refused, code_of, git
from fewshot_bench.engine import ENGINE
from fewshot_bench.errors import FewshotError
from fewshot_bench.identity import identify_result, run_id
from fewshot_bench.results.answer_files import renamed
from fewshot_bench.results.record_models import scores_in
from fewshot_bench.results.records import Record, find_records
from fewshot_bench.results.score_files import read_scores, write_scores
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors, weights_sha256
from fewshot_bench.source.source_hash import VERSION
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.storage import write_json
from rewritten import Extent, all_brought_over


def commit_of(content: Mapping[str, Any]) -> str:
    """The commit that a record was made at; raises `Refused`."""
    made_at = content["provenance"].get("git")
    if not made_at:
        raise Refused("it names no commit")
    if made_at["dirty"]:
        raise Refused("it was made from uncommitted changes")
    try:
        git("cat-file", "-e", f"{made_at['commit']}^{{commit}}")
    except Refused:
        raise Refused(f"commit {made_at['commit'][:10]} is gone") from None
    return str(made_at["commit"])


def is_present(content: Mapping[str, Any]) -> bool:
    """Whether a record was made with the present form of ids, or brought to them by what it computes."""
    as_it_was_made = "former" not in content or "rewritten" in content["former"]
    return as_it_was_made and content["method"].get("source_version") == VERSION


def renewed(record: Record, commits: Commits) -> dict[str, Any]:
    """The record's content under its new ids; raises `Refused`."""
    content, code, commit = record.content, code_of(record.content), commit_of(record.content)
    former = content.get("former", {"run_id": record.run_id, "source_sha256": content["method"]["source_sha256"]})
    if "rewritten" in former:
        raise Refused(f"its method was rewritten since commit {commit[:10]}")
    hashes = commits.hashes(commit, code)
    if former["source_sha256"] not in (hashes.then or ()):
        raise Refused(f"its source {former['source_sha256'][:10]} is not that of commit {commit[:10]}")
    spec = TrainSpec.model_validate_json(json.dumps(content["train"]))
    new = run_id(spec, hashes.now, content["data"]["identity"])
    results = []
    for result in content["results"]:
        try:
            results.append(_renewed_result(result, commit, code, commits))
        except Refused as reason:
            print(f"{record.folder.name}: left out is a test, {reason}. Again: {result.get('command')}")
    if not results:
        raise Refused("no commit has the code of any of its tests")
    made = content | {
        "run_id": new,
        "former": former,
        "engine": ENGINE,
        "train": spec.model_dump(mode="json"),
        "method": content["method"] | {"source_sha256": hashes.now, "source_version": VERSION},
        "results": results,
    }
    text = json.dumps(made).replace(f"fsbench test {record.run_id} ", f"fsbench test {new} ")
    return dict(json.loads(text))


def _renewed_result(result: dict[str, Any], commit: str, code: Code, commits: Commits) -> dict[str, Any]:
    former = result.get("former", {"id": result["id"], "source_sha256": result["source_sha256"]})
    now = commits.that_gives(former["source_sha256"], commit, code).now
    test = TestSpec.model_validate_json(json.dumps(result["test"]))
    new = identify_result(test, result["data"]["identity"] if "data" in result else None, now)
    return result | {"id": new, "source_sha256": now, "engine": ENGINE, "former": former}


def write(record: Record, content: dict[str, Any]) -> Path:
    """Put a renewed record in the old one's place, its weights and scores under the new ids; returns its folder."""
    folder = record.folder.with_name(record.folder.name.replace(record.run_id, content["run_id"]))
    scores = read_scores(record.folder, sum(scores_in(one["test"]) for one in record.results))
    ids = {one["id"] if one["id"] in scores else one["former"]["id"]: one["id"] for one in content["results"]}
    groups = [(name, *name.partition("/")) for name in scores]  # of a result, or of an extra metric of one
    with tempfile.TemporaryDirectory(dir=record.folder.parent) as place:
        made = Path(place) / folder.name
        shutil.copytree(record.folder, made)
        if (checkpoint := made / "checkpoint.safetensors").is_file():
            tensors, about = load_tensors(checkpoint)
            if about["run_id"] not in (record.run_id, content["former"]["run_id"]):
                raise Refused(f"its weights are those of {about['run_id']}")
            save_tensors(checkpoint, tensors, about | {"run_id": content["run_id"]})
            content = content | {"weights_sha256": weights_sha256(tensors)}
        there = {f"{ids[old]}{slash}{metric}": scores[name] for name, old, slash, metric in groups if old in ids}
        write_scores(made, there, with_files=renamed(made, ids))
        write_json(made / "record.json", content)
        shutil.rmtree(record.folder)
        made.rename(folder)
    return folder


def main() -> None:
    """Renew what can be renewed, and say what cannot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[HERE], help="where records lie")
    parser.add_argument("--write", action="store_true", help="change them; without it, say what would be done")
    parser.add_argument("--rewritten-since", metavar="COMMIT", help="for methods that compute the same as they did there")
    parser.add_argument("--updates", type=int, default=Extent.updates, help="of each training that are compared")
    parser.add_argument("--episodes", type=int, default=Extent.episodes, help="of each test that are compared, at least")
    parser.add_argument("--weights", type=Path, help="a folder of runs with their weights, such as runs/published")
    parser.add_argument("--jobs", type=int, default=1, help="records compared at once")
    given = parser.parse_args()
    records = find_records(given.folders)
    try:
        changed, refused = _by_what_is_computed(records, given) if given.rewritten_since else _by_commit(records, given)
    except Refused as reason:
        sys.exit(str(reason))
    print(f"{changed} {'renewed' if given.write else 'to be renewed'}, {refused} refused.")
    sys.exit(1 if refused else 0)


def _by_commit(records: Iterable[Record], given: argparse.Namespace) -> tuple[int, int]:
    """How many are renewed and how many refused, by what their own commits give."""
    records = [record for record in records if not is_present(record.content)]
    commits = Commits(_wanted(records))
    present: dict[Code, str] = {}
    refused = changed = 0
    for record in records:
        try:
            content = renewed(record, commits)
            if content != record.content and given.write:
                write(record, content)
            changed += content != record.content
            print(f"{record.folder.name} -> {content['run_id']}{_outdated(content, present)}")
        except Refused as reason:
            refused += 1
            print(f"{record.folder.name}: to be made again, {reason}")
    return changed, refused


def _by_what_is_computed(records: Iterable[Record], given: argparse.Namespace) -> tuple[int, int]:
    """How many are renewed and how many refused, by what the code of a commit and the present code compute."""
    extent = Extent(given.updates, given.episodes, given.weights)
    refused = changed = 0
    for record, content, took_s in all_brought_over(records, given.rewritten_since, extent, given.jobs):
        if content is None:
            print(f"{record.folder.name}: has the present ids ({took_s:.1f} s)", flush=True)
            continue
        try:
            if isinstance(content, Refused):
                raise content
            if given.write:
                write(record, content)
            changed += 1
            print(f"{record.folder.name} -> {content['run_id']}, {_compared(content)} ({took_s:.1f} s)", flush=True)
        except Refused as reason:
            refused += 1
            print(f"{record.folder.name}: left, {reason} ({took_s:.1f} s)", flush=True)
    return changed, refused


def _compared(content: Mapping[str, Any]) -> str:
    """What was found to be the same, in words."""
    of, tests = content["former"]["rewritten"], [one["former"]["rewritten"]["episodes"] for one in content["results"]]
    return f"the same in {of['updates']} updates and {'+'.join(map(str, tests))} test episodes; weights: {of['weights']}"


def _wanted(records: Iterable[Record]) -> dict[str, set[Code]]:
    wanted: dict[str, set[Code]] = defaultdict(set)
    for record in records:
        made_at = record.content["provenance"].get("git") or {}
        wanted[str(made_at.get("commit"))].add(code_of(record.content))
    return wanted


def _outdated(content: Mapping[str, Any], present: dict[Code, str]) -> str:
    """Says so where the method's code is another by now."""
    from fewshot_bench.plugins import registry
    from fewshot_bench.source.source_hash import source_sha256

    code = code_of(content)
    try:
        if code not in present:
            method, backbone = registry.find("methods", code[0]).load(), code[1]
            present[code] = source_sha256(method, *([registry.find("backbones", backbone).load()] if backbone else []))
    except FewshotError:
        return " (its method is not installed here)"
    return "" if present[code] == content["method"]["source_sha256"] else " (its method's code is another by now)"


if __name__ == "__main__":
    main()
