#!/usr/bin/env python3
"""Foreign weights by name: a torchvision ResNet-18 and a timm ViT-Ti with random weights, their features here and in `juxta embed`.

    features.py JUXTA_PROGRAM      prints the largest difference relative to the largest feature; status 1 above 1e-4
"""
import os, subprocess, sys, tempfile
import numpy as np, torch, torchvision, timm
from safetensors.torch import save_file

torch.manual_seed(0)
program, bad = sys.argv[1], 0
for name in ("resnet18", "vit_tiny_patch16_224"):
    net = torchvision.models.resnet18() if name == "resnet18" else timm.create_model(name, num_classes=10)
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.running_mean.normal_(std=0.1); m.running_var.uniform_(0.5, 1.5); m.weight.uniform_(0.5, 1.5); m.bias.normal_(std=0.1)
    net.eval()
    x = torch.randn(4, 3, 224, 224)
    with torch.no_grad():
        want = torch.nn.Sequential(*list(net.children())[:-1])(x).flatten(1) if name == "resnet18" else net.forward_features(x)[:, 0]
    with tempfile.TemporaryDirectory() as d:
        save_file(net.state_dict(), f"{d}/w.safetensors")
        np.save(f"{d}/x.npy", np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()))
        subprocess.run([program, "embed", "--model", name, "--weights", f"{d}/w.safetensors", "--data", f"{d}/x.npy", "-o", f"{d}/f.npy"], check=True)
        got = torch.from_numpy(np.load(f"{d}/f.npy"))
    error = ((got - want).abs().max() / want.abs().max()).item()
    print(f"{name}: {tuple(got.shape)}, largest relative difference {error:.1e}")
    bad |= not error < 1e-4
sys.exit(bad)
