# Attention reads columns where they are; the split stays for those that need its results
#? pass slices
graph slices opset=18
input x:f32[1,3,12]
input pk:f32[1,2,4,2]
const zero:i64[1] = {0}
const eight:i64[1] = {8}
const twelve:i64[1] = {12}
const two:i64[1] = {2}
q, k, v = Split(x) @split axis=-1 num_outputs=3
s = Slice(x, eight, twelve, two) @slice
y = FusedAttention(q, k, s) @self heads=2 scale=0.5
z = FusedAttention(q, pk, pk) @cached heads=2 kv_heads=2 causal=1
r = Relu(v) @relu
output y
output z
output r
# >>> expect
# graph slices opset=18 hash=0000000000000000
# input x:f32[1,3,12]
# input pk:f32[1,2,4,2]
# q:f32[1,3,4], k:f32[1,3,4], v:f32[1,3,4] = Split(x) @split axis=-1 num_outputs=3
# y:f32[1,3,4] = FusedAttention(x, x, x) @self heads=2 scale=0.5 width=2 q_at=0 k_at=4 v_width=2 v_at=8
# z:f32[1,3,4] = FusedAttention(x, pk, pk) @cached heads=2 kv_heads=2 causal=1 width=2 q_at=0
# r:f32[1,3,4] = Relu(v) @relu
# output y
# output z
# output r
# <<<
