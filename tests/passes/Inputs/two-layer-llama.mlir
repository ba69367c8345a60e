// A Llama-like decoder of two layers: 64 wide, 8 heads, 4 kv heads, tied embedding.
module attributes {graph.facts = {architecture = "llama", name = "two-layer"},
                   graph.language_model = {function = "decode", vocab_size = 512 : i64, context_length = 512 : i64, page_size = 64 : i64}} {
graph.dim @n in [1, 512]
graph.dim @m in [0, 512]
graph.dim @s in [1, 256]
graph.dim @b in [1, 8]
graph.dim @p in [1, 1048576]
graph.weight @"model.embed_tokens.weight" : tensor<512x64xf32> from [#graph.source<"model.safetensors", "model.embed_tokens.weight", offset = 0, "f32", [512, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.input_layernorm.weight" : tensor<64xf32> from [#graph.source<"model.safetensors", "model.layers.0.input_layernorm.weight", offset = 131072, "f32", [64]>] as "f32" "rows"
graph.weight @"model.layers.0.self_attn.q_proj.weight" : tensor<64x64xf32> from [#graph.source<"model.safetensors", "model.layers.0.self_attn.q_proj.weight", offset = 131328, "f32", [64, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.self_attn.k_proj.weight" : tensor<32x64xf32> from [#graph.source<"model.safetensors", "model.layers.0.self_attn.k_proj.weight", offset = 147712, "f32", [32, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.self_attn.v_proj.weight" : tensor<32x64xf32> from [#graph.source<"model.safetensors", "model.layers.0.self_attn.v_proj.weight", offset = 155904, "f32", [32, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.self_attn.o_proj.weight" : tensor<64x64xf32> from [#graph.source<"model.safetensors", "model.layers.0.self_attn.o_proj.weight", offset = 164096, "f32", [64, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.post_attention_layernorm.weight" : tensor<64xf32> from [#graph.source<"model.safetensors", "model.layers.0.post_attention_layernorm.weight", offset = 180480, "f32", [64]>] as "f32" "rows"
graph.weight @"model.layers.0.mlp.gate_proj.weight" : tensor<172x64xf32> from [#graph.source<"model.safetensors", "model.layers.0.mlp.gate_proj.weight", offset = 180736, "f32", [172, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.mlp.up_proj.weight" : tensor<172x64xf32> from [#graph.source<"model.safetensors", "model.layers.0.mlp.up_proj.weight", offset = 224768, "f32", [172, 64]>] as "f32" "rows"
graph.weight @"model.layers.0.mlp.down_proj.weight" : tensor<64x172xf32> from [#graph.source<"model.safetensors", "model.layers.0.mlp.down_proj.weight", offset = 268800, "f32", [64, 172]>] as "f32" "rows"
graph.weight @"model.layers.1.input_layernorm.weight" : tensor<64xf32> from [#graph.source<"model.safetensors", "model.layers.1.input_layernorm.weight", offset = 312832, "f32", [64]>] as "f32" "rows"
graph.weight @"model.layers.1.self_attn.q_proj.weight" : tensor<64x64xf32> from [#graph.source<"model.safetensors", "model.layers.1.self_attn.q_proj.weight", offset = 313088, "f32", [64, 64]>] as "f32" "rows"
graph.weight @"model.layers.1.self_attn.k_proj.weight" : tensor<32x64xf32> from [#graph.source<"model.safetensors", "model.layers.1.self_attn.k_proj.weight", offset = 329472, "f32", [32, 64]>] as "f32" "rows"
graph.weight @"model.layers.1.self_attn.v_proj.weight" : tensor<32x64xf32> from [#graph.source<"model.safetensors", "model.layers.1.self_attn.v_proj.weight", offset = 337664, "f32", [32, 64]>] as "f32" "rows"
graph.weight @"model.layers.1.self_attn.o_proj.weight" : tensor<64x64xf32> from [#graph.source<"model.safetensors", "model.layers.1.self_attn.o_proj.weight", offset = 345856, "f32", [64, 64]>] as "f32" "rows"
graph.weight @"model.layers.1.post_attention_layernorm.weight" : tensor<64xf32> from [#graph.source<"model.safetensors", "model.layers.1.post_attention_layernorm.weight", offset = 362240, "f32", [64]>] as "f32" "rows"
graph.weight @"model.layers.1.mlp.gate_proj.weight" : tensor<172x64xf32> from [#graph.source<"model.safetensors", "model.layers.1.mlp.gate_proj.weight", offset = 362496, "f32", [172, 64]>] as "f32" "rows"
graph.weight @"model.layers.1.mlp.up_proj.weight" : tensor<172x64xf32> from [#graph.source<"model.safetensors", "model.layers.1.mlp.up_proj.weight", offset = 406528, "f32", [172, 64]>] as "f32" "rows"
graph.weight @"model.layers.1.mlp.down_proj.weight" : tensor<64x172xf32> from [#graph.source<"model.safetensors", "model.layers.1.mlp.down_proj.weight", offset = 450560, "f32", [64, 172]>] as "f32" "rows"
graph.weight @"model.norm.weight" : tensor<64xf32> from [#graph.source<"model.safetensors", "model.norm.weight", offset = 494592, "f32", [64]>] as "f32" "rows"
graph.func @decode(
    %tokens: tensor<?xi32, #graph.dims<@n>> {graph.name = "tokens", graph.index_limit = affine_map<()[n, m, s, b, p] -> (512)>},
    %positions: tensor<?xi32, #graph.dims<@n>> {graph.name = "positions", graph.index_limit = affine_map<()[n, m, s, b, p] -> (b * 64)>},
    %slots: tensor<?xi32, #graph.dims<@n>> {graph.name = "slots", graph.index_limit = affine_map<()[n, m, s, b, p] -> (s)>},
    %block_table: tensor<?x?xi32, #graph.dims<@s, @b>> {graph.name = "block_table", graph.index_limit = affine_map<()[n, m, s, b, p] -> (p)>},
    %out_rows: tensor<?xi32, #graph.dims<@m>> {graph.name = "out_rows", graph.index_limit = affine_map<()[n, m, s, b, p] -> (n)>},
    %cache: !graph.cache<layers = 2, kv_heads = 4, head_dim = 8, page_size = 64, pages = @p, f32> {graph.name = "kv_cache"})
    -> (tensor<?x512xf32, #graph.dims<@m>> {graph.name = "logits"}) {
  %w0 = graph.use @"model.embed_tokens.weight" : tensor<512x64xf32, #graph.stored<"f32", "rows">> loc("model.embed_tokens.weight")
  %v1 = graph.embed %tokens, %w0 : tensor<?xi32, #graph.dims<@n>>, tensor<512x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.embed_tokens")
  %w1 = graph.use @"model.layers.0.input_layernorm.weight" : tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.input_layernorm.weight")
  %v2 = graph.rms_norm %v1, %w1 eps = 1.0e-05 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.input_layernorm")
  %w2 = graph.use @"model.layers.0.self_attn.q_proj.weight" : tensor<64x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.self_attn.q_proj.weight")
  %v3 = graph.matmul %v2, %w2 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.0.self_attn.q_proj")
  %w3 = graph.use @"model.layers.0.self_attn.k_proj.weight" : tensor<32x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.self_attn.k_proj.weight")
  %v4 = graph.matmul %v2, %w3 : tensor<?x64xf32, #graph.dims<@n>>, tensor<32x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x32xf32, #graph.dims<@n>> loc("model.layers.0.self_attn.k_proj")
  %w4 = graph.use @"model.layers.0.self_attn.v_proj.weight" : tensor<32x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.self_attn.v_proj.weight")
  %v5 = graph.matmul %v2, %w4 : tensor<?x64xf32, #graph.dims<@n>>, tensor<32x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x32xf32, #graph.dims<@n>> loc("model.layers.0.self_attn.v_proj")
  %v6 = graph.rope %v3, %positions {head_dim = 8 : i64, rotary_dim = 8 : i64, theta = 1.0e+04 : f64} : tensor<?x64xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>> loc("model.layers.0.self_attn.rotary")
  %v7 = graph.rope %v4, %positions {head_dim = 8 : i64, rotary_dim = 8 : i64, theta = 1.0e+04 : f64} : tensor<?x32xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>> loc("model.layers.0.self_attn.rotary")
  %v8 = graph.attention %v6, %v7, %v5 at %positions, %slots, %block_table in %cache {layer = 0 : i64, heads = 8 : i64, kv_heads = 4 : i64, head_dim = 8 : i64, scale = 0.35355339059327379 : f64} : tensor<?x64xf32, #graph.dims<@n>>, tensor<?x32xf32, #graph.dims<@n>>, tensor<?x32xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>>, tensor<?x?xi32, #graph.dims<@s, @b>>, !graph.cache<layers = 2, kv_heads = 4, head_dim = 8, page_size = 64, pages = @p, f32> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.0.self_attn")
  %w5 = graph.use @"model.layers.0.self_attn.o_proj.weight" : tensor<64x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.self_attn.o_proj.weight")
  %v9 = graph.matmul %v8, %w5 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.0.self_attn.o_proj")
  %v10 = graph.add %v1, %v9 : tensor<?x64xf32, #graph.dims<@n>>, tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.0.self_attn.residual")
  %w6 = graph.use @"model.layers.0.post_attention_layernorm.weight" : tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.post_attention_layernorm.weight")
  %v11 = graph.rms_norm %v10, %w6 eps = 1.0e-05 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.post_attention_layernorm")
  %w7 = graph.use @"model.layers.0.mlp.gate_proj.weight" : tensor<172x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.mlp.gate_proj.weight")
  %v12 = graph.matmul %v11, %w7 : tensor<?x64xf32, #graph.dims<@n>>, tensor<172x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.0.mlp.gate_proj")
  %w8 = graph.use @"model.layers.0.mlp.up_proj.weight" : tensor<172x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.mlp.up_proj.weight")
  %v13 = graph.matmul %v11, %w8 : tensor<?x64xf32, #graph.dims<@n>>, tensor<172x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.0.mlp.up_proj")
  %v14 = graph.silu %v12 : tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.0.mlp.act_fn")
  %v15 = graph.mul %v14, %v13 : tensor<?x172xf32, #graph.dims<@n>>, tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.0.mlp.act_fn")
  %w9 = graph.use @"model.layers.0.mlp.down_proj.weight" : tensor<64x172xf32, #graph.stored<"f32", "rows">> loc("model.layers.0.mlp.down_proj.weight")
  %v16 = graph.matmul %v15, %w9 : tensor<?x172xf32, #graph.dims<@n>>, tensor<64x172xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.0.mlp.down_proj")
  %v17 = graph.add %v10, %v16 : tensor<?x64xf32, #graph.dims<@n>>, tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.0.mlp.residual")
  %w10 = graph.use @"model.layers.1.input_layernorm.weight" : tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.input_layernorm.weight")
  %v18 = graph.rms_norm %v17, %w10 eps = 1.0e-05 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.input_layernorm")
  %w11 = graph.use @"model.layers.1.self_attn.q_proj.weight" : tensor<64x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.self_attn.q_proj.weight")
  %v19 = graph.matmul %v18, %w11 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.1.self_attn.q_proj")
  %w12 = graph.use @"model.layers.1.self_attn.k_proj.weight" : tensor<32x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.self_attn.k_proj.weight")
  %v20 = graph.matmul %v18, %w12 : tensor<?x64xf32, #graph.dims<@n>>, tensor<32x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x32xf32, #graph.dims<@n>> loc("model.layers.1.self_attn.k_proj")
  %w13 = graph.use @"model.layers.1.self_attn.v_proj.weight" : tensor<32x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.self_attn.v_proj.weight")
  %v21 = graph.matmul %v18, %w13 : tensor<?x64xf32, #graph.dims<@n>>, tensor<32x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x32xf32, #graph.dims<@n>> loc("model.layers.1.self_attn.v_proj")
  %v22 = graph.rope %v19, %positions {head_dim = 8 : i64, rotary_dim = 8 : i64, theta = 1.0e+04 : f64} : tensor<?x64xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>> loc("model.layers.1.self_attn.rotary")
  %v23 = graph.rope %v20, %positions {head_dim = 8 : i64, rotary_dim = 8 : i64, theta = 1.0e+04 : f64} : tensor<?x32xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>> loc("model.layers.1.self_attn.rotary")
  %v24 = graph.attention %v22, %v23, %v21 at %positions, %slots, %block_table in %cache {layer = 1 : i64, heads = 8 : i64, kv_heads = 4 : i64, head_dim = 8 : i64, scale = 0.35355339059327379 : f64} : tensor<?x64xf32, #graph.dims<@n>>, tensor<?x32xf32, #graph.dims<@n>>, tensor<?x32xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@n>>, tensor<?x?xi32, #graph.dims<@s, @b>>, !graph.cache<layers = 2, kv_heads = 4, head_dim = 8, page_size = 64, pages = @p, f32> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.1.self_attn")
  %w14 = graph.use @"model.layers.1.self_attn.o_proj.weight" : tensor<64x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.self_attn.o_proj.weight")
  %v25 = graph.matmul %v24, %w14 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.1.self_attn.o_proj")
  %v26 = graph.add %v17, %v25 : tensor<?x64xf32, #graph.dims<@n>>, tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.1.self_attn.residual")
  %w15 = graph.use @"model.layers.1.post_attention_layernorm.weight" : tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.post_attention_layernorm.weight")
  %v27 = graph.rms_norm %v26, %w15 eps = 1.0e-05 : tensor<?x64xf32, #graph.dims<@n>>, tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.post_attention_layernorm")
  %w16 = graph.use @"model.layers.1.mlp.gate_proj.weight" : tensor<172x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.mlp.gate_proj.weight")
  %v28 = graph.matmul %v27, %w16 : tensor<?x64xf32, #graph.dims<@n>>, tensor<172x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.1.mlp.gate_proj")
  %w17 = graph.use @"model.layers.1.mlp.up_proj.weight" : tensor<172x64xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.mlp.up_proj.weight")
  %v29 = graph.matmul %v27, %w17 : tensor<?x64xf32, #graph.dims<@n>>, tensor<172x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.1.mlp.up_proj")
  %v30 = graph.silu %v28 : tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.1.mlp.act_fn")
  %v31 = graph.mul %v30, %v29 : tensor<?x172xf32, #graph.dims<@n>>, tensor<?x172xf32, #graph.dims<@n>> loc("model.layers.1.mlp.act_fn")
  %w18 = graph.use @"model.layers.1.mlp.down_proj.weight" : tensor<64x172xf32, #graph.stored<"f32", "rows">> loc("model.layers.1.mlp.down_proj.weight")
  %v32 = graph.matmul %v31, %w18 : tensor<?x172xf32, #graph.dims<@n>>, tensor<64x172xf32, #graph.stored<"f32", "rows">> -> tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.1.mlp.down_proj")
  %v33 = graph.add %v26, %v32 : tensor<?x64xf32, #graph.dims<@n>>, tensor<?x64xf32, #graph.dims<@n>> loc("model.layers.1.mlp.residual")
  %v34 = graph.gather %v33, %out_rows : tensor<?x64xf32, #graph.dims<@n>>, tensor<?xi32, #graph.dims<@m>> -> tensor<?x64xf32, #graph.dims<@m>> loc("model.out_rows")
  %w19 = graph.use @"model.norm.weight" : tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.norm.weight")
  %v35 = graph.rms_norm %v34, %w19 eps = 1.0e-05 : tensor<?x64xf32, #graph.dims<@m>>, tensor<64xf32, #graph.stored<"f32", "rows">> loc("model.norm")
  %w20 = graph.use @"model.embed_tokens.weight" : tensor<512x64xf32, #graph.stored<"f32", "rows">> loc("model.embed_tokens.weight")
  %v36 = graph.matmul %v35, %w20 : tensor<?x64xf32, #graph.dims<@m>>, tensor<512x64xf32, #graph.stored<"f32", "rows">> -> tensor<?x512xf32, #graph.dims<@m>> loc("lm_head")
  graph.return %v36 : tensor<?x512xf32, #graph.dims<@m>>
}
}
