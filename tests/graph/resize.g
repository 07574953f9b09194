# Rows shrink before columns grow; what is no float is picked; what keeps its size is nothing
#? pass resize
graph resize opset=13
input x:f32[1,2,4,3]
input f:f32[1,2]
const s:i64[4] = {1, 2, 2, 6}
const d:i64[2] = {1, 3}
const one:f32[4] = {1, 1, 1, 1}
i = Cast(f) @cast to=7
y = Resize(x, -, -, s) @shrink mode="nearest"
p = Resize(i, -, -, d) @pick
z = Cast(p) @back to=1
t = Resize(x, -, one) @none
output y
output z
output t
# >>> expect
# graph resize opset=13 hash=0000000000000000
# input x:f32[1,2,4,3]
# input f:f32[1,2]
# const shrink:i64[1,2] = {0, 2}
# const shrink.1:f32[1,2] = {1, 1}
# const shrink.2:f32[2] = {0, 0}
# const shrink.3:i64[1,6] = {0, 0, 1, 1, 2, 2}
# const shrink.4:f32[1,6] = {1, 1, 1, 1, 1, 1}
# const shrink.5:f32[6] = {0, 0, 0, 0, 0, 0}
# const pick:i64[3] = {0, 0, 1}
# i:i64[1,2] = Cast(f) @cast to=7
# y.1:f32[1,2,2,3] = Resample(x, shrink, shrink.1, shrink.2) @shrink axis=2
# y:f32[1,2,2,6] = Resample(y.1, shrink.3, shrink.4, shrink.5) @shrink axis=3
# p:i64[1,3] = Gather(i, pick) @pick axis=1
# z:f32[1,3] = Cast(p) @back to=1
# t:f32[1,2,4,3] = Identity(x) @none
# output y
# output z
# output t
# <<<
