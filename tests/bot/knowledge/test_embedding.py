"""What makes vectors, by setting: a server that is asked as OpenAI's is, and what it says when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from bot.errors import EmbeddingFailed
from bot.knowledge import minilm
from bot.knowledge.embedding import FolderEmbedder, PackagedEmbedder, ServerEmbedder, embedder_of
from bot.knowledge.training_lookup import meaning


class Embeddings(BaseHTTPRequestHandler):
    """Speaks `/v1/embeddings`: a text's vector says its length; the rows come in the wrong order."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        rows = [
            {"index": place, "embedding": [float(len(text)), 0.0, 1.0]}
            for place, text in enumerate(body["input"])
        ]
        self._answer(200 if body["model"] == "known" else 404, {"data": rows[::-1]})

    def _answer(self, status: int, body: object) -> None:
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Embeddings.asked.clear()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Embeddings)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/v1"
    serving.shutdown()
    serving.server_close()


def test_a_server_gives_vectors_of_length_one_in_the_order_of_the_texts(server: str) -> None:
    embedder = embedder_of(server, model="known", api_key="secret")
    assert isinstance(embedder, ServerEmbedder)
    vectors = embedder.passages(["a" * number for number in range(1, 131)])
    assert vectors.shape == (130, 3)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert list(vectors[:, 0] / vectors[:, 2]) == pytest.approx(list(range(1, 131)), rel=1e-5)
    assert set(Embeddings.asked) == {("/v1/embeddings", "Bearer secret")}


def test_a_server_that_does_not_know_the_model_is_named(server: str) -> None:
    with pytest.raises(EmbeddingFailed, match=server) as refused:
        ServerEmbedder(server, "unknown", "").questions(["why?"])
    assert "knowledge.embedding_model" in refused.value.remedy


def test_an_examination_goes_without_vectors_where_their_server_fails(server: str) -> None:
    assert meaning(ServerEmbedder(server, "unknown", ""), ["why?"]) is None
    vectors = meaning(ServerEmbedder(server, "known", "secret"), ["why?"])
    assert vectors is not None and vectors.shape == (1, 3)


def test_a_folder_that_is_no_model_is_told_with_what_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty")
    with pytest.raises(EmbeddingFailed) as refused:
        FolderEmbedder(str(folder)).questions(["why?"])
    assert "packaged" in refused.value.remedy


def test_off_makes_no_vectors_and_packaged_makes_them_of_both_languages() -> None:
    assert embedder_of("off") is None
    embedder = embedder_of("packaged")
    assert isinstance(embedder, PackagedEmbedder)
    dog, other, network = embedder.passages(["The dog sleeps.", "Pies śpi.", "A neural network learns."])
    assert dog @ other > dog @ network + 0.2
    assert np.allclose([dog @ dog, other @ other], 1)


def test_the_english_model_gives_what_the_library_that_it_was_made_with_gives() -> None:
    folder = minilm.packaged()
    assert folder is not None, "make install brings the package"
    texts = ["Seeds are swapped in March.", "Who waters the greenhouse, and when?", "seeds " * 300, "?"]
    encoder = minilm.MiniLM(folder)
    ours = encoder.encode(texts)
    in_bulk = encoder.encode([*texts, *(["and in June " * 80] * 20)])  # by torch where the CPU has bf16
    assert np.min(np.sum(ours * in_bulk[: len(texts)], axis=1)) > 0.999
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    for text, vector in zip(texts, ours, strict=True):
        with torch.inference_mode():
            tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            mean = model(**tokens).last_hidden_state[0].mean(0)
        assert vector @ torch.nn.functional.normalize(mean, dim=0).numpy() == pytest.approx(1, abs=1e-4)
