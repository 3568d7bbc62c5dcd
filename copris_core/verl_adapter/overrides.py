"""Reads YAML files and the command line through Hydra, and refuses what names nothing.

Hydra lets ``+key=value`` add any key, which is how a typo passes unseen; here it may only where
another program defines the keys. This file refuses to know what a key means.
"""

import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.keys import CODE_ONLY_KEYS, OWN_GROUPS, nearest_key, open_node_of

CONFIG_MODULE: Final = "configs"
PRIMARY: Final = "train"
HYDRA_VERSION: Final = "1.3"
SEARCHPATH: Final = "hydra.searchpath"


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the config of a run.

    Args:
        overrides: Hydra overrides, such as ``experiment=copris`` or ``strategy.concurrency=32``.

    Raises:
        ConfigError: an override names no key, no option, or cannot be read.
    """
    parsed = [_read(text) for text in overrides]
    values = [each for each in parsed if not _names_group(each) and each.key_or_group != SEARCHPATH]
    with initialize_config_module(CONFIG_MODULE, version_base=HYDRA_VERSION):
        for override in parsed:
            _refuse_form(override)
            _refuse_unknown_option(override, parsed)
        known = _compose([each for each in parsed if each not in values])
        for override in values:
            _refuse_unknown_keys(override, known)
        return _compose(parsed) if values else known


def verl_config_folder() -> Path:
    """Folder of verl's own YAML.

    Found without importing verl: its first import fixes the platform, and which one is known only
    once the config is read. Hydra's ``pkg://`` would import it.

    Raises:
        ConfigError: verl is not installed.
    """
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("verl is missing: pip install 'copris[cpu]'")
    return Path(spec.submodule_search_locations[0]) / "trainer" / "config"


def leaves(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys that hold no section, or an empty one."""
    for word in cfg:
        node = cfg._get_node(word)
        if isinstance(node, DictConfig) and len(node):
            yield from leaves(node, f"{prefix}{word}.")
        else:
            yield f"{prefix}{word}"


def _read(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"cannot read {text!r}: write key=value, without spaces") from error


def _compose(overrides: Sequence[Override]) -> DictConfig:
    """Compose with verl's folder behind the search path of the command line."""
    given = [each.value() for each in overrides if each.key_or_group == SEARCHPATH]
    folders = [*itertools.chain(*given), f"file://{verl_config_folder()}"]
    quoted = ",".join("'" + folder.replace("'", "\\'") + "'" for folder in folders)
    lines = [each.input_line or "" for each in overrides if each.key_or_group != SEARCHPATH]
    try:
        return hydra_compose(PRIMARY, [*lines, f"{SEARCHPATH}=[{quoted}]"])
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        told = str(error).partition("\nConfig search path")[0]
        raise ConfigError(" ".join(told.split())) from error


def _names_group(override: Override) -> bool:
    """Ours by name; verl's by the @ of their package, or by being its only bare group."""
    return override.key_or_group in (*OWN_GROUPS, "model_engine") or override.package is not None


def _refuse_form(override: Override) -> None:
    if override.type == OverrideType.DEL:
        raise ConfigError(f"{override.input_line}: nothing can be deleted; set the key to null")
    if override.is_sweep_override():
        raise ConfigError(f"{override.input_line}: one run takes one value; start a run for each")
    if override.key_or_group == SEARCHPATH and not isinstance(override.value(), list):
        raise ConfigError(f"{SEARCHPATH} takes a list: {SEARCHPATH}=[file://FOLDER]")


def _refuse_unknown_option(override: Override, parsed: Sequence[Override]) -> None:
    group, value = override.key_or_group, override.value()
    if group not in OWN_GROUPS or any(each.key_or_group == SEARCHPATH for each in parsed):
        return  # options in the user's own folders are Hydra's to find
    if override.is_add():
        raise ConfigError(f"{override.input_line}: {group} is known, write it without +")
    options = GlobalHydra.instance().config_loader().get_group_options(group)
    if value not in options:
        raise ConfigError(f"{group}={value} is unknown: use one of {', '.join(options)}")


def _refuse_unknown_keys(override: Override, known: DictConfig) -> None:
    key, value = override.key_or_group, override.value()
    if key.startswith("hydra."):
        raise ConfigError(
            f"{override.input_line}: of Hydra's own keys only {SEARCHPATH} can be set"
        )
    if _has_key(known, key) and override.is_add() and not isinstance(value, dict):
        raise ConfigError(f"{override.input_line}: {key} is known, write it without +")
    for named in _named_keys(key, value):
        if not _has_key(known, named) and not _may_be_added(named):
            near = nearest_key(named, (*leaves(known), *OWN_GROUPS))
            mend = f"did you mean {near}?" if near else "remove it; see `copris check --help`"
            raise ConfigError(f"unknown key {named}: {mend}")
    if not _has_key(known, key) and override.type == OverrideType.CHANGE:
        raise ConfigError(f"{key} is not set yet: write +{override.input_line}")
    _refuse_replacing_section(override, known)


def _named_keys(key: str, value: object) -> Iterator[str]:
    """The keys that an override sets: itself, or those inside a dict."""
    if not isinstance(value, dict) or not value:
        yield key
        return
    for word, inner in value.items():
        yield from _named_keys(f"{key}.{word}", inner)


def _may_be_added(key: str) -> bool:
    return open_node_of(key) is not None or key in CODE_ONLY_KEYS


def _refuse_replacing_section(override: Override, known: DictConfig) -> None:
    section = OmegaConf.select(known, override.key_or_group)
    if isinstance(section, DictConfig) and not isinstance(override.value(), dict):
        raise ConfigError(
            f"{override.key_or_group} is a section: set a key below it, such as "
            f"{override.key_or_group}.{next(iter(section), 'key')}=..."
        )


def _has_key(cfg: DictConfig, key: str) -> bool:
    node: Any = cfg
    for word in key.split("."):
        if not isinstance(node, DictConfig) or word not in node.keys():  # noqa: SIM118
            return False
        node = node._get_node(word)
    return True
