"""``datum-clip labels``: propose which labels of several datasets mean the same."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.errors import OptionError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare ``propose``."""
    actions = parser.add_subparsers(dest="action", required=True)
    propose = actions.add_parser("propose", help="write a mapping with proposals to accept")
    propose.add_argument("datasets", nargs="+", metavar="PATH[:FORMAT]", help="datasets to compare")
    propose.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the mapping, as YAML")
    propose.add_argument("--model", help="also compare the names with the text encoder of this model")
    propose.add_argument("--crops", action="store_true", help="also compare what is in the boxes; needs --model")


def run(args: argparse.Namespace) -> int:
    """Weigh the evidence, write the mapping, and print one line for each proposal."""
    from datumaro_clip.curate.mapping import write_mapping
    from datumaro_clip.curate.run_model import RunModel
    from datumaro_clip.curate.synonyms import propose
    from datumaro_clip.curate.vector_options import EmbeddingOptions
    from datumaro_clip.host.labels import label_source, name_vectors
    from datumaro_clip.host.sources import open_named

    if args.crops and not args.model:
        raise OptionError("--crops needs --model NAME")
    if args.output.exists():
        raise OptionError(f"{args.output} is there already, perhaps with what you have accepted; name another file")
    model = RunModel(EmbeddingOptions(model=args.model)) if args.model else None
    sources = [label_source(each, model if args.crops else None) for each in open_named(args.datasets)]
    names = list(dict.fromkeys(label for source in sources for label in source.labels))
    proposals = propose(sources, name_vectors(names, model) if model else None)
    comment = f"datum-clip labels propose {' '.join(args.datasets)}\nWrite 'accept: yes' where from means to."
    write_mapping(args.output, [each.entry() for each in proposals], comment)
    for each in proposals:
        told = "is" if each.relation == "same" else "is a kind of"
        evidence = ", ".join(f"{kind} {what}" for kind, what in each.evidence.items())
        say(f"{each.name} {told} {each.target}: {evidence}")
    say(f"{len(proposals)} proposals in {args.output}; write 'accept: yes' where they are right")
    return 0
