from __future__ import annotations

import pytest
import torch

from engine.data import PreparedCorpus
from engine.supervised.dataset import Dataset, gather
from tests.voices import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    return PreparedCorpus.open(write_corpus(tmp_path_factory.mktemp("corpus") / "kathleen"))


@pytest.fixture(scope="module")
def data(corpus: PreparedCorpus) -> Dataset:
    return gather(corpus, False, torch.device("cpu"))
