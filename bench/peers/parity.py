#!/usr/bin/env python3
"""Training steps in PyTorch, written down so that Juxta can repeat them: the files of tests/parity/.

    parity.py OUT_DIR [--full]

For each of ResNet-20, a ViT and a BERT text encoder: initial weights (float32), ten batches of 8 with two views each, and what ten
steps of SGD (momentum 0.9, weight decay 1e-4 on everything) on NT-Xent give in float64: the loss of every step and the final
parameters and buffers (large tensors by every k-th element). --full writes the usual sizes (ResNet-20 width 16, ViT-Ti/4, width 256
x 4 layers) beside small ones that are kept in the tree. The ViT is timm's, the text encoder Hugging Face's.
"""
import argparse, json, os
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from safetensors.numpy import save_file



def nt_xent(z1, z2, t):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = z1.shape[0]
    sim = z @ z.T / t
    sim.fill_diagonal_(float("-inf"))
    return F.cross_entropy(sim, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))


class Block(nn.Module):
    def __init__(s, cin, cout, stride):
        super().__init__()
        s.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False); s.bn1 = nn.BatchNorm2d(cout)
        s.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(cout)
        if stride != 1 or cin != cout:
            s.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(s, x):
        y = s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x)))))
        return F.relu(y + (s.downsample(x) if hasattr(s, "downsample") else x))


class ResNet20(nn.Module):
    def __init__(s, cin, w):
        super().__init__()
        s.conv1 = nn.Conv2d(cin, w, 3, 1, 1, bias=False); s.bn1 = nn.BatchNorm2d(w)
        make = lambda i, o, st: nn.Sequential(Block(i, o, st), Block(o, o, 1), Block(o, o, 1))
        s.layer1, s.layer2, s.layer3 = make(w, w, 1), make(w, 2 * w, 2), make(2 * w, 4 * w, 2)

    def forward(s, x):
        return s.layer3(s.layer2(s.layer1(F.relu(s.bn1(s.conv1(x)))))).mean((2, 3))


class Bert(nn.Module):
    def __init__(s, **k):
        super().__init__()
        from transformers import BertConfig, BertModel
        s.bert = BertModel(BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **k), add_pooling_layer=False)

    def forward(s, ids):
        return s.bert(input_ids=ids).last_hidden_state[:, 0]


def head(c):
    return nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, 32))


def sample(a):
    a = np.ascontiguousarray(a).reshape(-1)
    return a[:: max(1, a.size // 1024)].copy()  # save_file would write the memory behind a strided view


def write(path, config, net, dim, batches, prefix=""):
    torch.manual_seed(7)
    h = head(dim)
    with torch.no_grad():
        for m in list(net.modules()):  # norms start away from 1 and 0, so that a swapped gain or bias shows
            if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)):
                m.weight.uniform_(0.5, 1.5); m.bias.uniform_(-0.3, 0.3)
    out = {}
    for k, v in net.state_dict().items():
        if "position_ids" not in k:
            out["init/encoder." + k.removeprefix(prefix)] = v.numpy().copy()
    for k, v in h.state_dict().items():
        out["init/head." + k.replace("0.", "layers.0.", 1).replace("2.", "layers.1.", 1)] = v.numpy().copy()
    x1, x2 = batches
    nchw = x1.ndim == 5
    out["x1"], out["x2"] = [np.ascontiguousarray(np.moveaxis(x.numpy(), 2, -1) if nchw else x.numpy()) for x in (x1, x2)]
    net.double().train(); h.double().train()
    params = list(net.parameters()) + list(h.parameters())
    opt = torch.optim.SGD(params, config["lr"], momentum=0.9, weight_decay=1e-4)
    losses = []
    for a, b in zip(x1, x2):
        if nchw:
            a, b = a.double(), b.double()
        loss = nt_xent(h(net(a)), h(net(b)), config["temperature"])
        opt.zero_grad(); loss.backward(); opt.step()
        losses.append(loss.item())
    out["loss"] = np.array(losses)
    for k, v in net.state_dict().items():
        if "position_ids" not in k:
            out["final/encoder." + k.removeprefix(prefix)] = sample(v.detach().numpy())
    for k, v in h.state_dict().items():
        out["final/head." + k.replace("0.", "layers.0.", 1).replace("2.", "layers.1.", 1)] = sample(v.detach().numpy())
    out = {k: (v.astype(np.float32) if k.startswith("init/") and v.dtype != np.int64 else v) for k, v in out.items()}
    save_file(out, path, metadata={"config": json.dumps(config)})
    print(path, os.path.getsize(path), losses)


ap = argparse.ArgumentParser()
ap.add_argument("out"); ap.add_argument("--full", action="store_true")
a = ap.parse_args()
os.makedirs(a.out, exist_ok=True)
torch.manual_seed(1)
steps, n = 10, 8


def images(c, side):
    return torch.rand(steps, n, c, side, side), torch.rand(steps, n, c, side, side)


import timm

sizes = [("small", 4, (16, 3), dict(embed_dim=48, depth=2, num_heads=3), dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=192, vocab_size=100, max_position_embeddings=20))]
if a.full:
    sizes = [("full", 16, (28, 1), dict(embed_dim=192, depth=12, num_heads=3), dict(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024, vocab_size=30522, max_position_embeddings=64))]
for tag, width, (side, channels), vit, bert in sizes:
    # At the usual width SGD amplifies rounding: with 0.01 PyTorch's own f32 run leaves its f64 run by 4e-4 in the loss.
    lr = 3e-4 if a.full else 0.01
    write(f"{a.out}/resnet20_{tag}.safetensors", {"name": "resnet20", "width": width, "in_channels": channels, "lr": lr, "temperature": 0.5},
          ResNet20(channels, width), 4 * width, images(channels, side))
    img = 32 if a.full else 16
    net = timm.models.VisionTransformer(img_size=img, patch_size=4, num_classes=0, **vit)
    with torch.no_grad():
        net.cls_token.normal_(std=0.02)
    write(f"{a.out}/vit_{tag}.safetensors", {"name": "vit", "image_size": img, "patch": 4, "width": vit["embed_dim"], "depth": vit["depth"], "heads": vit["num_heads"], "in_channels": 3, "lr": 0.01, "temperature": 0.5},
          net, vit["embed_dim"], images(3, img))
    T = 32 if a.full else 9  # no token 0: Hugging Face keeps the padding token's row at its start
    ids = [torch.randint(1, bert["vocab_size"], (steps, n, T)) for _ in range(2)]
    write(f"{a.out}/text_{tag}.safetensors", {"name": "bert_mini", "vocab": bert["vocab_size"], "max_tokens": bert["max_position_embeddings"], "width": bert["hidden_size"], "depth": bert["num_hidden_layers"], "heads": bert["num_attention_heads"], "lr": 0.01, "temperature": 0.5},
          Bert(**bert), bert["hidden_size"], ids, prefix="bert.")
