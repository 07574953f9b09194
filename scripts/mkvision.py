#!/usr/bin/env python3
"""Makes tests/vision: tiny convolutional networks as the exporters of our users write them.

    scripts/mkvision.py DIR [CASE...]

Each case is a folder as mkexporters.py makes them, without fused.txt. The networks are torchvision's
own classes and blocks with few channels, batch norms with statistics of their own, and what it
lacks: a generator with transposed convolutions, reflected borders and instance norms.

Needs what mkexporters.py needs, and was last run with torchvision 0.29.
"""
import mkexporters as E
import numpy as np
import onnxsim
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.models import convnext, densenet, efficientnet, mnasnet, mobilenetv2
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.models.segmentation import deeplabv3, fcn, lraspp

# CASE: network, exporter and opset, onnxsim.
CASES = {
    "convnext-ts17": ("convnext", "ts17", False),
    "convnext-dy18": ("convnext", "dy18", False),
    "deeplab-ts13": ("deeplab", "ts13", False),
    "deeplab-dy18": ("deeplab", "dy18", False),
    "densenet-ts17": ("densenet", "ts17", False),
    "efficientnet-dy20": ("efficientnet", "dy20", False),
    "fcn-ts18-sim": ("fcn", "ts18", True),
    "generator-ts17": ("generator", "ts17", False),
    "googlenet-ts15": ("googlenet", "ts15", False),
    "lraspp-ts16": ("lraspp", "ts16", False),
    "mnasnet-ts14": ("mnasnet", "ts14", False),
    "mobilenet2-ts13-sim": ("mobilenet2", "ts13", True),
}


class Net(nn.Module):
    """A backbone, and a head that classifies."""

    def __init__(self, *layers, channels, classes=10):
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class Segment(nn.Module):
    """Logits at the size of the image."""

    def __init__(self, backbone, head, low=None):
        super().__init__()
        self.backbone, self.head, self.low = backbone, head, low

    def forward(self, x):
        if self.low:
            low = self.low(x)
            y = self.head({"low": low, "high": self.backbone(low)})
        else:
            y = self.head(self.backbone(x))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


def stem(channels, channels_in=3):
    return nn.Sequential(nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels),
                         nn.ReLU(inplace=True))


def generator():
    def norm(n):
        return nn.InstanceNorm2d(n, affine=True)
    return nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 8, 7), norm(8), nn.ReLU(),
                         nn.Conv2d(8, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.SiLU(),
                         nn.ReplicationPad2d(1), nn.Conv2d(16, 16, 3), norm(16), nn.LeakyReLU(0.2),
                         nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1), norm(8), nn.ReLU(),
                         nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=2), nn.Mish(),
                         nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())


CNN, MBC, FMBC = convnext.CNBlockConfig, efficientnet.MBConvConfig, efficientnet.FusedMBConvConfig
NETS = {
    "convnext": lambda: convnext.ConvNeXt([CNN(8, 16, 1), CNN(16, 24, 1), CNN(24, None, 1)], num_classes=10),
    "deeplab": lambda: Segment(nn.Sequential(stem(8), stem(16, channels_in=8)), nn.Sequential(deeplabv3.ASPP(16, [2, 4], 8), nn.Conv2d(8, 5, 1))),
    "densenet": lambda: densenet.DenseNet(4, (2, 2), 8, num_classes=10),
    "efficientnet": lambda: efficientnet.EfficientNet(
        [FMBC(1, 3, 1, 8, 8, 1), FMBC(2, 3, 2, 8, 16, 1), MBC(4, 3, 2, 16, 24, 2), MBC(4, 5, 1, 24, 24, 1)],
        0.2, last_channel=32, num_classes=10),
    "fcn": lambda: Segment(nn.Sequential(stem(8), stem(16, channels_in=8)), fcn.FCNHead(16, 5)),
    "generator": generator,
    "googlenet": lambda: Net(
        BasicConv2d(3, 8, kernel_size=3, stride=2, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True),
        Inception(8, 4, 4, 8, 2, 4, 4), nn.MaxPool2d(2, 2, ceil_mode=True),
        Inception(20, 8, 4, 8, 2, 4, 4), channels=24),
    "lraspp": lambda: Segment(stem(16, channels_in=8), lraspp.LRASPPHead(8, 16, 5, 8), stem(8)),
    "mnasnet": lambda: Net(stem(8), mnasnet._stack(8, 12, 3, 2, 3, 2, 0.1), mnasnet._stack(12, 16, 5, 1, 6, 1, 0.1),
                           channels=16),
    "mobilenet2": lambda: mobilenetv2.MobileNetV2(
        10, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]], block=mobilenetv2.InvertedResidual),
}


class Named(nn.Module):
    pick = ["y"]

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return (self.net(x),)


def settle(net, x):
    """Parameters that hide no mistake, and statistics of what the batch norms see."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in net.modules():
        if isinstance(m, (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)) and m.weight is not None:
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0, 0.2)
        if isinstance(m, convnext.CNBlock):
            nn.init.uniform_(m.layer_scale, 0.1, 0.5)
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0, m.in_features ** -0.5)
    for m in norms:
        m.momentum = 1.0
    if norms:
        net.train()
        net(torch.randn(4, *x.shape[1:]))
    for m in norms:
        m.running_var.clamp_(min=0.05 * float(m.running_var.mean()))
    net.eval()


def make(root, case):
    name, version, simplify = CASES[case]
    torch.manual_seed(1)
    x = torch.randn(1, 3, 33, 32)
    net = Named(NETS[name]())
    with torch.no_grad():
        settle(net, x)
        want = net(x)[0].numpy()
        graph = E.export(net, ["x"], [x], {}, version[:2], int(version[2:]), f"{root}/{case}.tmp")
    if simplify:
        graph, _ = onnxsim.simplify(graph)
    E.strip(graph)
    E.compare(case, graph, E.write(f"{root}/{case}", graph, {"x": x.numpy()}).values(), [want])


if __name__ == "__main__":
    E.make_all(__doc__, CASES, make)
