# Two transposes become one, or none
#? pass simplify
graph transposes opset=17
input x:f32[2,3,4]
a = Transpose(x) @first perm=[1,2,0]
b = Transpose(a) @back perm=[2,0,1]
c = Transpose(a) @second perm=[0,2,1]
y = Neg(b) @neg
z = Relu(c) @relu
output y
output z
# >>> expect
# graph transposes opset=17 hash=0000000000000000
# input x:f32[2,3,4]
# c:f32[3,2,4] = Transpose(x) @second perm=[1,0,2]
# y:f32[2,3,4] = Neg(x) @neg
# z:f32[3,2,4] = Relu(c) @relu
# output y
# output z
# <<<
