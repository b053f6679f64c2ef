"""DPO and IPO: loss and gradients are TRL's on the same batch; pairs packed as one by one."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from komt.errors import UsageError
from komt.pack import TokenSequence
from komt.pack.pairs import Pair, plan_pairs, sequences_of
from komt.recipe import PreferencePart, parse_recipe
from komt.testing import tiny_tokenizer
from komt.train.loop import make_loop
from komt.train.preference import Preference, log_probs_of, pair_losses, reference_log_probs

# Ours -> TRL's loss types, with their weights; TRL has label smoothing as `robust`.
CASES = {
    "dpo": ({"beta": 0.3}, ["sigmoid"], [1.0]),
    "ipo": ({"beta": 0.2}, ["ipo"], [1.0]),
    "dpo, per token": ({"beta": 2.0, "length_normalised": True}, ["sigmoid_norm"], [1.0]),
    "dpo, smoothed": ({"beta": 0.3, "label_smoothing": 0.1}, ["robust"], [1.0]),
    "dpo with sft": ({"beta": 0.3, "sft": 0.7}, ["sigmoid", "sft"], [1.0, 0.7]),
    "ipo with sft": ({"beta": 0.2, "sft": 0.5}, ["ipo", "sft"], [1.0, 0.5]),
}


def sequence(ids, answer, name):
    weights = np.zeros(len(ids), np.float32)
    weights[-answer:] = 1.0
    return TokenSequence(np.array(ids, np.int32), weights, name, "toy", name.partition(".")[0])


@pytest.fixture
def pairs():
    """Six pairs of ragged answers on four prompts; two answers begin alike."""
    random = np.random.default_rng(0)
    made = []
    for number in range(6):
        prompt = [2, *random.integers(100, 200, 5 + number % 4)]
        if number in {4, 5}:  # two more pairs on the first prompt
            prompt = made[0].chosen.ids[: -int(made[0].chosen.weights.sum())].tolist()
        chosen = [*random.integers(200, 400, 3 + number), 1]
        rejected = [*random.integers(200, 400, 8 - number), 1]
        if number == 1:
            rejected = [*chosen[:2], *rejected]
        name = f"{0 if number > 3 else number}.{number}"
        made.append(Pair(*(sequence([*prompt, *tail], len(tail), name) for tail in (chosen, rejected))))
    return made


def loop_over(recipe, pairs, model, kind, settings, folder, way="shared"):
    """A loop on the pairs, its reference taken from the model as it is."""
    pack = recipe.pack.model_copy(update={"share": way == "shared"})
    steps = plan_pairs(pairs, pack, recipe.train, recipe.seed)
    loop = make_loop(recipe, sequences_of(pairs), steps, model, way)
    reference = reference_log_probs(folder, loop, "start", pairs)
    loop.objective = Preference(kind, settings, loop.sequences, reference, way == "single")
    loop.together = 2
    return loop


def shift(model, seed=1):
    """Move the adapter away from the policy that the reference was taken from."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def first_gradient(loop):
    """The first step's loss, measures and gradient, without its update."""
    kept = {}
    model = loop.model
    loop.optimizer = SimpleNamespace(
        step=lambda: kept.update(gradient=gradients(model)), zero_grad=lambda set_to_none: None
    )
    return loop._step(0), kept["gradient"]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """TRL's trainer on tiny models, which each test replaces."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    from komt.testing import tiny_model

    row = {"prompt": "서울은", "chosen": "도시이다.", "rejected": "배이다."}
    folder = tmp_path_factory.mktemp("trl")
    options = {"use_cpu": True, "bf16": False, "report_to": "none", "gradient_checkpointing": False}
    return trl.DPOTrainer(
        model=tiny_model("llama"),
        ref_model=tiny_model("llama"),
        args=trl.DPOConfig(str(folder), **options),
        train_dataset=datasets.Dataset.from_list([row]),
        processing_class=tiny_tokenizer(),
    )


def trl_gradient(trainer, start, moved, pairs, settings, kinds, weights):
    """Loss, metrics and gradient of TRL's trainer on all pairs as one batch."""
    for mine, given in ((trainer.model, moved), (trainer.ref_model, start)):
        mine.load_state_dict(given)
    trainer.loss_types, trainer.loss_weights = kinds, weights
    trainer.beta, trainer.label_smoothing = settings["beta"], settings.get("label_smoothing", 0.0)
    rows = []
    for pair in pairs:
        ids = [one.ids.tolist() for one in (pair.chosen, pair.rejected)]
        start_of = [len(one) - size for one, size in zip(ids, pair.answer_tokens, strict=True)]
        rows.append(
            {
                "prompt_ids": ids[0][: start_of[0]],
                "chosen_ids": ids[0][start_of[0] :],
                "rejected_ids": ids[1][start_of[1] :],
            }
        )
    trainer.model.train()
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    loss = trainer._compute_loss(trainer.model, trainer.data_collator(rows), return_outputs=False)
    loss.backward()
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    return loss.item(), metrics, gradients(trainer.model)


@pytest.mark.parametrize(("settings", "kinds", "weights"), CASES.values(), ids=CASES)
def test_loss_and_gradient_are_those_of_trl(trainer, toy_recipe, pairs, tmp_path, settings, kinds, weights):
    from komt.testing import tiny_model

    recipe, model = toy_recipe(method="full", step_tokens=100_000, clip=1e9), tiny_model("llama")
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kind = "ipo" if kinds[0] == "ipo" else "dpo"
    loop = loop_over(recipe, pairs, model, kind, PreferencePart(**settings), tmp_path)
    shift(model)
    moved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result, gradient = first_gradient(loop)
    loss, metrics, expected = trl_gradient(trainer, start, moved, pairs, settings, kinds, weights)
    assert result.loss == pytest.approx(loss, rel=1e-4)
    assert (gradient - expected).norm() <= 1e-4 * expected.norm()
    assert expected.norm() > 1e-3
    assert result.measures["reward_margin"] == pytest.approx(metrics["rewards/margins"], rel=1e-4)
    assert result.measures["reward_accuracy"] == pytest.approx(metrics["rewards/accuracies"])
    assert 0 < result.measures["reward_accuracy"] < 1
    assert result.measures["chosen_log_prob"] == pytest.approx(metrics["logps/chosen"], rel=1e-4)
    assert result.examples == len(pairs)


@pytest.mark.parametrize("kind", ["dpo", "ipo"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize(("way", "tokens"), [("shared", 24), ("packed", 4096), ("single", 4096)])
def test_packing_changes_neither_loss_nor_gradient(
    toy_recipe, pairs, adapted, tmp_path, kind, family, way, tokens
):
    settings = PreferencePart(beta=0.5, sft=0.3)
    found = []
    for name, (each, limit) in {"one": ("shared", 4096), "other": (way, tokens)}.items():
        recipe = toy_recipe(pack={"tokens": limit}, step_tokens=100_000, clip=1e9)
        model = adapted(recipe, family)
        loop = loop_over(recipe, pairs, model, kind, settings, tmp_path / name, each)
        shift(model)
        found.append((len(loop.steps[0].bins), *first_gradient(loop)))
    (bins, result, gradient), (other_bins, other, other_gradient) = found
    assert bins == 1
    assert other_bins > 1 or tokens == 4096
    assert other.loss == pytest.approx(result.loss, rel=1e-5)
    # A margin is a difference of log-probabilities of about ten nats, in fp32.
    assert other.measures == pytest.approx(result.measures, rel=1e-5, abs=1e-5)
    assert (other_gradient - gradient).norm() <= 1e-5 * gradient.norm()


def test_at_the_start_no_answer_is_preferred(toy_recipe, pairs, adapted, tmp_path):
    recipe = toy_recipe(step_tokens=100_000, clip=1e9)
    for kind, expected in (("dpo", math.log(2)), ("ipo", (1 / 0.2) ** 2)):
        loop = loop_over(recipe, pairs, adapted(recipe), kind, PreferencePart(beta=0.1), tmp_path)
        result, _ = first_gradient(loop)
        assert result.loss == pytest.approx(expected, rel=1e-4)
        assert result.measures["reward_margin"] == pytest.approx(0, abs=1e-5)


def test_the_formulae():
    ratios = torch.tensor([1.5]), torch.tensor([-0.5]), torch.tensor([3.0]), torch.tensor([2.0])

    def value(kind, **settings):
        return pair_losses(kind, PreferencePart(**settings), *ratios).item()

    log_sigmoid = lambda x: -math.log1p(math.exp(-x))  # noqa: E731
    assert value("dpo", beta=0.4) == pytest.approx(-log_sigmoid(0.4 * 2.0))
    assert value("dpo", beta=0.4, length_normalised=True) == pytest.approx(-log_sigmoid(0.4 * (0.5 + 0.25)))
    assert value("ipo", beta=0.4) == pytest.approx((0.5 + 0.25 - 1 / 0.8) ** 2)
    smoothed = (-0.9 * log_sigmoid(0.8) + 0.1 * log_sigmoid(-0.8)) / 0.8
    assert value("dpo", beta=0.4, label_smoothing=0.1) == pytest.approx(smoothed)


def test_training_prefers_the_chosen_answers(toy_recipe, pairs, adapted, tmp_path):
    recipe = toy_recipe(step_examples=3, epochs=20, lr=1e-2)
    model = adapted(recipe)
    loop = loop_over(recipe, pairs, model, "dpo", PreferencePart(beta=0.5), tmp_path)
    results = []
    loop.run(0, lambda result, last: results.append(result))
    assert results[0].measures["reward_accuracy"] < 1
    assert results[-1].measures["reward_accuracy"] == 1
    assert results[-1].measures["reward_margin"] > 1
    assert results[-1].loss < 0.5 * results[0].loss
    assert results[-1].task_loss == {"toy": pytest.approx(results[-1].loss)}


def test_the_reference_is_computed_once(toy_recipe, pairs, adapted, tmp_path):
    recipe = toy_recipe()
    model = adapted(recipe)
    first = loop_over(recipe, pairs, model, "dpo", PreferencePart(), tmp_path).objective.reference
    before = (tmp_path / "reference.safetensors").stat().st_mtime_ns
    shift(model)  # as if training had gone on: what was kept must come back
    again = loop_over(recipe, pairs, model, "dpo", PreferencePart(), tmp_path).objective.reference
    assert np.array_equal(first, again)
    assert (tmp_path / "reference.safetensors").stat().st_mtime_ns == before
    other = loop_over(recipe, pairs[:5], model, "dpo", PreferencePart(), tmp_path).objective.reference
    assert not np.allclose(other, first[:10])
    (tmp_path / "reference.safetensors").write_bytes(b"cut short")
    loop = loop_over(recipe, pairs, model, "dpo", PreferencePart(), tmp_path)
    assert np.array_equal(loop.objective.reference, log_probs_of(loop, pairs))


def test_pairs_know_no_other_supervision():
    with pytest.raises(UsageError, match="leave out supervise"):
        parse_recipe(
            {"name": "pairs", "data": {}, "train": {"objective": "dpo", "supervise": "text"}}, "pairs.yaml"
        )


def test_label_smoothing_is_refused_where_it_would_do_nothing(toy_recipe):
    with pytest.raises(UsageError, match="label_smoothing is for dpo"):
        toy_recipe(objective="ipo", preference={"label_smoothing": 0.1})
