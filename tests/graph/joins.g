# Each Concat of a dense block goes on from the one before; another axis or order does not
#? pass joins
graph joins opset=17
input a:f32[1,2,3]
input b:f32[1,2,3]
input d:f32[1,2,3]
c1 = Concat(a, b) @c1 axis=1
c2 = Concat(a, b, c1) @c2 axis=-2
c3 = Concat(a, b, c1, d) @c3 axis=1
other = Concat(a, b, d) @other axis=2
turned = Concat(b, a, d) @turned axis=1
output c2
output c3
output other
output turned
# >>> expect
# graph joins opset=17 hash=0000000000000000
# input a:f32[1,2,3]
# input b:f32[1,2,3]
# input d:f32[1,2,3]
# c1:f32[1,4,3] = Concat(a, b) @c1 axis=1
# c2:f32[1,8,3] = Concat(c1, c1) @c2 axis=1
# c3:f32[1,10,3] = Concat(c2, d) @c3 axis=1
# other:f32[1,2,9] = Concat(a, b, d) @other axis=2
# turned:f32[1,6,3] = Concat(b, a, d) @turned axis=1
# output c2
# output c3
# output other
# output turned
# <<<
