#!/usr/bin/env bash
# The whole pipeline in one command. Usage: ./run.sh --help
set -euo pipefail
started_in=$PWD
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
./run.sh                                  run the whole pipeline on the bundled demo (writes demo_output/ only)
./run.sh test                             run every check: ruff, unit tests, the four scripts on the demo
    .venv/bin/python tests/fuzz/fuzz.py --minutes 60   damaged inputs for an hour
./run.sh bench                            measure the speed beside other tools (20 minutes)
    --full            more clips and rounds, an hour or more
    --device cuda     on the GPU, at the real size (5 minutes)
./run.sh --korean DIR [--foreign DIR]     run the whole pipeline on real corpora; --korean and --foreign
                                          may be given several times, as to script 1
    --gpus N          processes of script 2, one for each GPU; all GPUs of this machine if not given
    --recipe NAME     v1, v2, v3, v3-as-run, v7 or listener (wants --foreign); v3 if not given
    --base-model M    hub name or local folder of the base model
    --stage N         first script to run, 1 to 4; 1 if not given
    --stop-stage N    last script to run, 1 to 4; 4 if not given
./run.sh listen --model M RECORDING...    what a model hears in recordings or folders of them: text, times, confidence
    --sentence TEXT   what was read aloud: tells what was heard instead, letter by letter
    --output FILE     write .csv, .jsonl, .srt or .txt; more: ./run.sh listen --help
    --page            instead of recordings: a page to record, and to hear each letter
The first call makes .venv by python3, or by the program that PYTHON names: PYTHON=python3.12 ./run.sh
처음 실행할 때 .venv를 만들고 필요한 패키지를 설치합니다.
TEXT
}

trap '' PIPE  # a reader that stops, as `| head` does, must not end a run
fail() { printf 'ERROR · 오류: %s\n' "$1" >&2; exit "${2:-2}"; }
say() { printf '\n>>> %s\n' "$1" 2>/dev/null || true; }
from_where_the_user_stands() { case $1 in ''|/*|hf:*) printf '%s' "$1" ;; *) printf '%s/%s' "$started_in" "$1" ;; esac; }

mode=demo; korean=(); foreign=(); gpus=; recipe=; base_model=; stage=1; stop_stage=4
while [ $# -gt 0 ]; do
  case $1 in
    test) mode=test; shift; continue ;;
    bench|listen) mode=$1; shift; break ;;  # the other options are for the benchmarks, or for listen.py
    -h|--help) usage; exit 0 ;;
    --korean|--foreign|--gpus|--recipe|--base-model|--stage|--stop-stage) [ $# -ge 2 ] || fail "$1 wants a value." ;;
    *) usage >&2; fail "unknown option $1" ;;
  esac
  [ -n "$2" ] || fail "$1 \"\": a value is wanted."
  case $1 in
    --korean) korean+=(--korean "$(from_where_the_user_stands "$2")"); mode=corpora ;;
    --foreign) foreign+=(--foreign "$(from_where_the_user_stands "$2")") ;;
    --gpus) gpus=$2 ;;
    --recipe) recipe=$2 ;;
    --base-model) base_model=$2 ;;
    --stage) stage=$2 ;;
    --stop-stage) stop_stage=$2 ;;
  esac
  shift 2
done
case $stage$stop_stage in [1-4][1-4]) ;; *) fail "--stage and --stop-stage are numbers from 1 to 4." ;; esac
[ "$stage" -le "$stop_stage" ] || fail "--stage $stage comes after --stop-stage $stop_stage."
case $gpus in *[!0-9]*|0) fail "--gpus $gpus: pass a whole number above 0." ;; esac
if [ "$mode" = demo ] && [ -n "${foreign[*]-}$gpus$recipe$base_model" ]; then
  fail "--foreign, --gpus, --recipe and --base-model go with --korean DIR; the demo uses none of them."
fi

if [[ $recipe = *listener ]] && [ -z "${foreign[*]-}" ] && [ ! -f data/processed/foreign.jsonl ]; then
  fail "--recipe $recipe needs learners' clips: pass --foreign DIR. · 학습자 음성이 필요합니다."
fi

given_base_model=$base_model

# The CUDA version of the torch that pip installs by requirements.txt. It runs on drivers of the same
# major version or a newer one (CUDA minor version compatibility).
TORCH_CUDA=13.0
refuse_old_driver() {
  case ${CUDA_VISIBLE_DEVICES-0} in [0-9]*|GPU-*|MIG-*) ;; *) return 0 ;; esac  # the CPU is used on purpose
  local cards driver torch example=
  cards=$(timeout 10 nvidia-smi -L 2>/dev/null | sed -n '/^GPU [0-9]/{s/^GPU [0-9]*: //;s/ (UUID.*//;p;}' | sort | uniq -c | xargs) || true
  driver=$(timeout 10 nvidia-smi 2>/dev/null | sed -n 's/.*CUDA[A-Za-z ]*Version *: *\([0-9]*\.[0-9]*\).*/\1/p' | head -1) || true
  [ -n "$cards" ] && [ -n "$driver" ] && [ "${driver%%.*}" -lt "${TORCH_CUDA%%.*}" ] || return 0
  torch=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements.txt)
  # That build runs on every driver of CUDA 12; none of this torch runs on older ones.
  [ "${driver%%.*}" != 12 ] || example=": ${PYTHON:-python3} -m venv .venv && .venv/bin/pip install $torch \
--index-url https://download.pytorch.org/whl/cu126, then ./run.sh"
  fail "nothing was installed: $torch cannot use $cards. The driver's CUDA version is $driver, that of $torch is $TORCH_CUDA. \
Install a torch built for the driver's CUDA (https://pytorch.org/get-started/locally)$example; or use the CPU on purpose: CUDA_VISIBLE_DEVICES=\"\" ./run.sh. · 드라이버가 오래되어 GPU를 사용할 수 없습니다." 1
}

# Set up again only when requirements.txt has changed. Its copy is written last, so that a broken
# installation is repeated.
if ! cmp -s requirements.txt .venv/installed-requirements.txt || ! .venv/bin/python -c '' 2>/dev/null; then
  new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
  python=${PYTHON:-python3}
  case $python in */*) python=$(from_where_the_user_stands "$python") ;; esac
  if ! new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    new_enough "$python" || fail "Python 3.11 or newer is needed, and $python is $("$python" -V 2>/dev/null || echo missing). \
Name a newer one: PYTHON=python3.12 ./run.sh. With conda: conda create -n korean python=3.12, conda activate korean, \
./run.sh. · Python 3.11 이상이 필요합니다. PYTHON=python3.12 ./run.sh처럼 지정하세요."
  fi
  # No torch yet: say before gigabytes are installed that the driver is older than the torch of requirements.txt.
  if ! ls -d .venv/lib/python*/site-packages/torch >/dev/null 2>&1; then refuse_old_driver; fi
  say "setting up .venv, once (a few minutes; 1 to 5 GB with CUDA) · 처음 한 번만 설치합니다"
  .venv/bin/python -m pip --version >/dev/null 2>&1 && new_enough .venv/bin/python || "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt .venv/installed-requirements.txt
fi
# PYTHONUTF8: file names are UTF-8 whatever the locale.
export PATH="$PWD/.venv/bin:$PATH" TOKENIZERS_PARALLELISM=false PYTHONUTF8=1

install_optional() { # why
  cmp -s requirements-optional.txt .venv/installed-optional.txt && return
  say "installing what is optional, $1 · 선택 패키지를 설치합니다"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-optional.txt
  cp requirements-optional.txt .venv/installed-optional.txt
}

if [ "$mode" = listen ]; then
  for word in "$@"; do
    case $word in --page|--page=*) install_optional "for the page" ;; esac
  done
  # Its paths start where the user stands.
  listen=$PWD/model_tuning/listen.py
  cd "$started_in"
  exec python "$listen" "$@"
fi

# Said before the hours of script 1: a recipe that is not there, and cards that torch cannot use.
if [ -n "$recipe" ]; then
  PYTHONPATH=model_tuning python -c '
import sys
from korean_asr.errors import exit_status
from korean_asr.recipe_options import chosen_recipe
from recipes import RECIPES
sys.exit(exit_status(lambda: chosen_recipe(RECIPES, sys.argv[1], {})))' "$recipe" || exit
fi
if [ "$stop_stage" -gt 1 ] && command -v nvidia-smi >/dev/null; then
  seen=$(PYTHONPATH=model_tuning python -c '
import sys
from korean_asr.errors import exit_status
from korean_asr.hardware import refuse_unusable_cards
import torch
sys.exit(exit_status(refuse_unusable_cards) or print(torch.cuda.device_count()))') || exit
  gpus=${gpus:-$seen}
fi

if [ "$mode" = test ]; then
  install_optional "for its tests"
  say "ruff"
  ruff check .
  ruff format --check .
  # Two at a time, each on one core, because tests spend most of their time on starting processes.
  export OMP_NUM_THREADS=1
  # One at a time, since they limit the memory of the GPU.
  say "the scripts on a GPU, where there is one"
  env -u OMP_NUM_THREADS python -m pytest -m gpu tests/gpu
  say "unit tests, and the four scripts on the demo corpus"
  python -m pytest -m "not gpu" -n 2 --dist worksteal
  exit 0
fi

if [ "$mode" = bench ]; then
  # A look at the options installs nothing.
  for word in "$@"; do
    case $word in -h|--help) exec python tests/benchmarks/bench.py --help ;; esac
  done
  if ! cmp -s tests/benchmarks/requirements.txt .venv/installed-benchmarks.txt; then
    say "installing the tools to compare with · 비교할 도구를 설치합니다"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/benchmarks/requirements.txt
    cp tests/benchmarks/requirements.txt .venv/installed-benchmarks.txt
  fi
  exec python tests/benchmarks/bench.py "$@"
fi

if [ "$mode" = demo ]; then
  korean=(--korean data/demo/korean) foreign=(--foreign data/demo/foreign) recipe=demo base_model=data/demo/base_model gpus=1
  data=demo_output/processed model=demo_output/wav2vec2_korean_demo checkpoints=demo_output/wav2vec2_finetune_ko
  # The report compares v3's way with the base and with the recipe that a user should take.
  listener=demo_output/wav2vec2_korean_demo-listener slips=data/demo/foreign_slips
  also_scored=(--model "$listener" --model "$base_model")
else
  recipe=${recipe:-v3}
  base_model=${base_model:-kresnik/wav2vec2-large-xlsr-korean}
  data=data/processed model=wav2vec2_korean_$recipe checkpoints=wav2vec2_finetune_ko
  [ "$recipe" = v3 ] || checkpoints=wav2vec2_finetune_ko_$recipe  # as script 2 does
  listener= slips=
  also_scored=()
  gpus=${gpus:-0}
  # Otherwise it is a hub name or an absolute path.
  [ -d "$started_in/$base_model" ] && base_model=$(from_where_the_user_stands "$base_model")
fi
runs_stage() { [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]; }
first_line() { say "stage $1 of 4: $2"; }

if runs_stage 1; then
  first_line 1 "corpora -> manifests · 전처리"
  compared=()  # script 1 alone needs no model, so the hub is not asked for one
  if runs_stage 2 || [ -n "$given_base_model" ]; then compared=(--base-model "$base_model"); fi
  python "model_tuning/1. script_preprocessing.py" ${korean[@]+"${korean[@]}"} ${foreign[@]+"${foreign[@]}"} \
    --output "$data" ${compared[@]+"${compared[@]}"}
fi
if runs_stage 2; then
  first_line 2 "split, tokens, fine-tuning · 미세조정"
  launcher=(python)
  if [ "$gpus" -gt 1 ]; then
    launcher=(torchrun --nproc_per_node="$gpus")
    threads=$(($(nproc 2>/dev/null || echo 1) / gpus))
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}"  # else torchrun warns and uses 1
  fi
  trains() { # recipe, model folder, checkpoints folder
    "${launcher[@]}" "model_tuning/2. model2_experiment_2.py" --data "$data" --base-model "$base_model" \
      --recipe "$1" --output "$2" --checkpoints "$3"
  }
  trains "$recipe" "$model" "$checkpoints"
  if [ -n "$listener" ]; then
    first_line 2 "the same with recipe demo-listener · 권장 레시피"
    trains demo-listener "$listener" demo_output/wav2vec2_finetune_ko_demo-listener
  fi
fi
if runs_stage 3; then
  first_line 3 "Korean speakers · 한국어 화자 평가"
  python "model_tuning/3. model_test_ko.py" --model "$model" ${also_scored[@]+"${also_scored[@]}"}
fi
if runs_stage 4; then
  if [ -n "${foreign[*]-}" ] || [ -f "$data/foreign.jsonl" ]; then
    first_line 4 "foreign speakers · 외국인 화자 평가"
    learners=(--manifest "$data/foreign.jsonl")
    # Script 2 chose or trained by the other learners, so these are scored.
    for name in "$model" ${listener:+"$listener"}; do
      [ -f "$name/split/foreign_test.jsonl" ] && learners=(--manifest "$name/split/foreign_test.jsonl")
    done
    python "model_tuning/4. model_test_fo.py" --model "$model" ${also_scored[@]+"${also_scored[@]}"} \
      ${learners[@]+"${learners[@]}"}
    if [ -n "$slips" ]; then
      first_line 4 "learners who misread a prompt: kept or repaired? · 제시문을 잘못 읽은 발화"
      python "model_tuning/1. script_preprocessing.py" "${korean[@]}" --foreign "$slips" --output demo_output/slips >/dev/null
      python "model_tuning/4. model_test_fo.py" --model "$model" "${also_scored[@]}" \
        --manifest demo_output/slips/foreign.jsonl --output "$model/results/slips"
      # Once more with the learners, whom script 3 had not met when it compared the models.
      python "model_tuning/3. model_test_ko.py" --experiments demo_output >/dev/null
    fi
  else
    say "stage 4 is skipped: no --foreign DIR was given, now or earlier. · 외국인 음성이 없어 4단계를 건너뜁니다."
  fi
fi

say "written · 결과 파일"
for path in "$data"/*.json* "$data"/*.html "$model" ${listener:+"$listener" demo_output/experiments.*} "$model"/results/*; do
  if [ -e "$path" ]; then printf '  %s\n' "$path" 2>/dev/null || true; fi
done
pages=()
for path in "$model"/results/{korean,foreign}.html "$data/preprocessing.html" ${listener:+demo_output/experiments.html}; do
  if [ -e "$path" ]; then pages+=("$path"); fi
done
[ -z "${pages[*]-}" ] || say "open in a browser · 브라우저에서 여세요: ${pages[*]}"
exit 0
