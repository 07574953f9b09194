#!/usr/bin/env python3
"""Makes tests/exporters: tiny transformers as the exporters of our users write them.

    scripts/mkexporters.py DIR [CASE...]

Each case is a folder: model.onnx, test_data_set_0 with inputs and what ONNX Runtime answers (all of
its optimisations off), and dims, the options that give symbolic dimensions their sizes. What
FluidVM is to make of it is in fused.txt, written by tests/cli/exporters.sh.

Needs, and was last run with: torch 2.15, transformers 5.23, onnx 1.23, onnxscript 0.7,
onnxruntime 1.31, onnxsim 0.8. Other versions write other graphs: add cases, don't replace them.
"""
import argparse
import logging
import os
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
import transformers as T
from onnx import numpy_helper

HIDDEN, LAYERS, HEADS, VOCAB, TOKENS, FFN, PAST = 16, 2, 4, 32, 8, 32, 5
IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
BASE = dict(vocab_size=VOCAB, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
            num_attention_heads=HEADS, intermediate_size=FFN, max_position_embeddings=16)

# CASE: model, attention, exporter and opset, dynamic axes, onnxsim.
# ts: torch.onnx.export(dynamo=False), which is what optimum uses; dy: dynamo=True.
CASES = {
    "albert-ts17": ("albert", "eager", "ts17", False, False),
    "bert-ts11-dyn": ("bert", "eager", "ts11", True, False),
    "bert-ts14-dyn-sim": ("bert", "sdpa", "ts14", True, True),
    "bert-dy23": ("bert", "sdpa", "dy23", False, False),
    "bert-dy18": ("bert-tanh", "eager", "dy18", False, False),
    "bloom-ts14": ("bloom", "eager", "ts14", False, False),
    "clip-text-dy18": ("clip-text", "sdpa", "dy18", False, False),
    "deberta-ts17": ("deberta", "eager", "ts17", False, False),
    "distilbert-dy21-dyn": ("distilbert", "sdpa", "dy21", True, False),
    "gpt2-ts17-dyn": ("gpt2", "sdpa", "ts17", True, False),
    "gpt2-past-ts14-sim": ("gpt2-past", "eager", "ts14", False, True),
    "gpt-neox-dy18": ("gpt-neox", "eager", "dy18", False, False),
    "llama-dy18": ("llama", "sdpa", "dy18", False, False),
    "llama-past-ts17-dyn": ("llama-past", "sdpa", "ts17", True, False),
    "minilm-ts17-dyn": ("minilm", "sdpa", "ts17", True, False),
    "mpnet-ts14": ("mpnet", "eager", "ts14", False, False),
    "opt-dy18-sim": ("opt", "sdpa", "dy18", False, True),
    "phi-ts16": ("phi", "sdpa", "ts16", False, False),
    "qwen2-dy21-dyn": ("qwen2", "eager", "dy21", True, False),
    "roberta-dy18": ("roberta", "sdpa", "dy18", False, False),
    "t5-ts13-dyn": ("t5", "eager", "ts13", True, False),
    "t5-gated-dy20": ("t5-gated", "sdpa", "dy20", False, False),
    "vit-dy20-sim": ("vit", "eager", "dy20", False, True),
    "whisper-ts20": ("whisper", "sdpa", "ts20", False, False),
}


class ByName(torch.nn.Module):
    """Inputs by position, for the exporters; outputs picked by name."""

    def __init__(self, model, names, pick):
        super().__init__()
        self.model, self.names, self.pick = model, names, pick

    def forward(self, *args):
        out = self.model(**dict(zip(self.names, args)))
        return tuple(out[k] for k in self.pick)


class Pooled(torch.nn.Module):
    """Sentence embedding: the mean over the tokens of the mask, normalised."""

    def __init__(self, config):
        super().__init__()
        self.bert = T.BertModel(config)

    def forward(self, input_ids, attention_mask):
        h = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        m = attention_mask.unsqueeze(-1).expand(h.size()).float()
        mean = (h * m).sum(1) / torch.clamp(m.sum(1), min=1e-9)
        return {"embedding": torch.nn.functional.normalize(mean, p=2, dim=1)}


class Cached(torch.nn.Module):
    """One token with keys and values of the past as inputs and outputs."""

    def __init__(self, model, pick):
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, input_ids, attention_mask, position_ids, *past):
        cache = T.DynamicCache()
        for layer in range(LAYERS):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask,
                         position_ids=position_ids, past_key_values=cache, use_cache=True)
        flat = [t for x in out.past_key_values.layers for t in (x.keys, x.values)]
        return (out.logits, *flat)


def config(cls, attention, **kw):
    c = cls(**{**BASE, **kw})
    c._attn_implementation = attention
    return c


def text(cls, cfg, pick="last_hidden_state", padding=2, types=False, **kw):
    def make(attention):
        names = ["input_ids", "attention_mask"] + ["token_type_ids"] * types
        mask = torch.ones(1, TOKENS, dtype=torch.int64)
        mask[:, TOKENS - padding:] = 0
        args = [torch.randint(3, VOCAB, (1, TOKENS)), mask]
        if types:
            args.append(torch.randint(0, 2, (1, TOKENS)))
        model = ByName(cls(config(cfg, attention, **kw)), names, [pick])
        return model, names, args, {n: {0: "batch", 1: "sequence"} for n in names}
    return make


def causal(cls, cfg, **kw):
    return text(cls, cfg, pick="logits", padding=0, use_cache=False, **IDS, **kw)


def cached(cls, cfg, key_heads=HEADS, **kw):
    def make(attention):
        pairs = [(n, k) for n in range(LAYERS) for k in ("key", "value")]
        past = [f"past.{n}.{k}" for n, k in pairs]
        names = ["input_ids", "attention_mask", "position_ids"] + past
        args = [torch.randint(3, VOCAB, (1, 1)), torch.ones(1, PAST + 1, dtype=torch.int64),
                torch.tensor([[PAST]])]
        args += [torch.randn(1, key_heads, PAST, HIDDEN // HEADS) for _ in past]
        axes = {n: {2: "past"} for n in past}
        axes["attention_mask"] = {1: "total"}
        pick = ["logits"] + [f"present.{n}.{k}" for n, k in pairs]
        return Cached(cls(config(cfg, attention, **IDS, **kw)), pick), names, args, axes
    return make


def vision(cls, cfg, name, shape, **kw):
    def make(attention):
        model = cls(config(cfg, attention, **kw))
        return ByName(model, [name], ["last_hidden_state"]), [name], [torch.randn(shape)], {}
    return make


def whisper_encoder(c):
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    return WhisperEncoder(c)


T5 = dict(d_model=HIDDEN, d_kv=HIDDEN // HEADS, d_ff=FFN, num_layers=LAYERS, num_heads=HEADS,
          relative_attention_num_buckets=8)
GPT2 = dict(n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS, n_positions=16)
LLAMA = dict(num_key_value_heads=2, tie_word_embeddings=False)
MODELS = {
    "albert": text(T.AlbertModel, T.AlbertConfig, embedding_size=8),
    "bert": text(T.BertModel, T.BertConfig, types=True),
    "bert-tanh": text(T.BertModel, T.BertConfig, types=True, hidden_act="gelu_new"),
    "bloom": causal(T.BloomForCausalLM, T.BloomConfig, n_layer=LAYERS, n_head=HEADS),
    "clip-text": text(T.CLIPTextModel, T.CLIPTextConfig, pick="pooler_output", **IDS),
    "deberta": text(T.DebertaV2Model, T.DebertaV2Config, relative_attention=True,
                    pos_att_type=["p2c", "c2p"], position_buckets=4, norm_rel_ebd="layer_norm",
                    share_att_key=True),
    "distilbert": text(T.DistilBertModel, T.DistilBertConfig, dim=HIDDEN, n_layers=LAYERS,
                       n_heads=HEADS, hidden_dim=FFN),
    "gpt2": causal(T.GPT2LMHeadModel, T.GPT2Config, **GPT2),
    "gpt2-past": cached(T.GPT2LMHeadModel, T.GPT2Config, **GPT2),
    "gpt-neox": causal(T.GPTNeoXForCausalLM, T.GPTNeoXConfig),
    "llama": causal(T.LlamaForCausalLM, T.LlamaConfig, **LLAMA),
    "llama-past": cached(T.LlamaForCausalLM, T.LlamaConfig, key_heads=2, **LLAMA),
    "minilm": text(Pooled, T.BertConfig, pick="embedding"),
    "mpnet": text(T.MPNetModel, T.MPNetConfig, pad_token_id=1),
    "opt": causal(T.OPTForCausalLM, T.OPTConfig, ffn_dim=FFN, word_embed_proj_dim=HIDDEN),
    "phi": causal(T.PhiForCausalLM, T.PhiConfig),
    "qwen2": causal(T.Qwen2ForCausalLM, T.Qwen2Config, **LLAMA),
    "roberta": text(T.RobertaModel, T.RobertaConfig, pad_token_id=1),
    "t5": text(T.T5EncoderModel, T.T5Config, **T5),
    "t5-gated": text(T.T5EncoderModel, T.T5Config, feed_forward_proj="gated-gelu", **T5),
    "vit": vision(T.ViTModel, T.ViTConfig, "pixel_values", (1, 3, 8, 8), image_size=8,
                  patch_size=4),
    "whisper": vision(whisper_encoder, T.WhisperConfig, "input_features", (1, 4, 16),
                      d_model=HIDDEN, encoder_layers=LAYERS, encoder_attention_heads=HEADS,
                      encoder_ffn_dim=FFN, num_mel_bins=4, max_source_positions=8,
                      decoder_start_token_id=1, **IDS),
}


def export(model, names, args, axes, exporter, opset, path):
    kw = dict(input_names=names, output_names=[f"out.{p}" for p in model.pick],
              opset_version=opset)
    if exporter == "ts":
        torch.onnx.export(model, tuple(args), path, dynamo=False, dynamic_axes=axes, **kw)
    else:
        auto = {n: {k: torch.export.Dim.DYNAMIC for k in a} for n, a in axes.items()}
        if axes:
            kw["dynamic_shapes"] = (tuple(auto.get(n, {}) for n in names),)
        torch.onnx.export(model, tuple(args), path, dynamo=True, verbose=False, **kw)
    result = onnx.load(path)
    for p in (path, path + ".data"):
        if os.path.exists(p):
            os.remove(p)
    return result


def strip(model):
    """What no importer reads: most of what dynamo writes."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    del model.graph.metadata_props[:]
    for x in [*model.graph.node, *model.graph.initializer, *model.graph.input,
              *model.graph.output]:
        x.doc_string = ""
        del x.metadata_props[:]


def write(folder, model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {i.name: feeds[i.name] for i in session.get_inputs()}
    outs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))
    data = folder + "/test_data_set_0"
    os.makedirs(data, exist_ok=True)
    onnx.save(model, folder + "/model.onnx")
    for kind, tensors in (("input", feeds), ("output", outs)):
        for i, (name, value) in enumerate(tensors.items()):
            with open(f"{data}/{kind}_{i}.pb", "wb") as f:
                f.write(numpy_helper.from_array(value, name).SerializeToString())
    dims = {}
    for i in session.get_inputs():
        for name, size in zip(i.shape, feeds[i.name].shape):
            if not isinstance(name, int):
                dims[name or "*"] = size
    with open(folder + "/dims", "w") as f:
        f.write("".join(f"--dim {k}={v}\n" for k, v in dims.items()))
    return outs


def make(root, case):
    name, attention, version, dynamic, simplify = CASES[case]
    torch.manual_seed(1)
    model, names, args, axes = MODELS[name](attention)
    model.eval()
    with torch.no_grad():
        for p in model.parameters():  # ones, zeros and tiny numbers would hide mistakes
            if p.dim() > 1:
                p.normal_(0, 0.25)
            else:
                p.add_(torch.randn_like(p) * 0.1)
        want = [o.numpy() for o in model(*args)]
        graph = export(model, names, args, axes if dynamic else {}, version[:2],
                       int(version[2:]), f"{root}/{case}.tmp")
    feeds = {n: a.numpy() for n, a in zip(names, args)}
    if simplify:
        shapes = {i.name: list(feeds[i.name].shape) for i in graph.graph.input}
        graph, _ = onnxsim.simplify(graph, overwrite_input_shapes=shapes if dynamic else None)
    strip(graph)
    compare(case, graph, write(f"{root}/{case}", graph, feeds).values(), want)


def compare(case, graph, outs, want):
    error = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(outs, want))
    largest = max(np.abs(b).max() for b in want)
    print(f"{case}: {len(graph.graph.node)} nodes, {graph.ByteSize()} bytes, largest output "
          f"{largest:.2g}, ONNX Runtime differs from torch by {error:.1e}", flush=True)
    assert error < 1e-4


def make_all(about, cases, make):
    """What the command line asks for: DIR [CASE...], all cases if none is named."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("dir")
    parser.add_argument("case", nargs="*")
    args = parser.parse_args()
    if unknown := set(args.case) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    torch.set_num_threads(1)
    for case in args.case or cases:
        make(args.dir, case)


if __name__ == "__main__":
    make_all(__doc__, CASES, make)
