"""Chat templates rendered by transformers: writes chat_templates.json beside this file. Needs transformers and jinja2."""
import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template
M=[{"role":"system","content":"Be <b>brief</b> & 'kind'."},{"role":"user","content":"  Héllo 世界 \n"},{"role":"assistant","content":"Hi","tool_calls":[{"function":{"name":"f","arguments":{"x":1,"y":[1.5,True,None,"a\"b\\\t\u2028é"],"z":{}, "e":[]}}}]},{"role":"user","content":"bye"}]
T=[{"type":"function","function":{"name":"get_weather","description":"It's <fine>","parameters":{"type":"object","properties":{"city":{"type":"string","enum":["a","b"]}},"required":["city"]}}}]
C={
"bool none":"{{ true }} {{ none }} {{ True }} {{ None }} {{ false ~ '' }} {{ undefinedvar }}|{{ 1.0 }}|{{ 7/2 }}|{{ 6/2 }}|{{ 7//2 }}|{{ -7 % 3 }}|{{ 2**10 }}",
"repr": "{{ messages[0] }} {{ tools }} {{ (1,2) }} {{ [] }} {{ {} }} {{ {'a': none} }}",
"strings":"{{ ' x '.strip() }}|{{ 'a-b-c'.split('-') }}|{{ 'a-b-c'.rsplit('-', 1)[0] }}|{{ 'abc'.removeprefix('a') }}|{{ 'xyz'.upper() }}|{{ 'abc'[::-1] }}|{{ 'abc'[-1] }}|{{ 'a,b'.partition(',') }}|{{ 'hello'.startswith(('he','x')) }}|{{ '%s=%d'|format('a', 3) }}|{{ 'a{}b'.format(1) }}|{{ 'x' * 3 }}|{{ 'title case'.title() }}|{{ 'abc'.find('c') }}|{{ '\\n a'.lstrip('\\n') }}|{{ 'a b  c'.split() }}|{{ 'x'.isdigit() }}|{{ 'abc'.replace('b','') }}|{{ 'e'.join(['1','2']) }}",
"tojson":"{{ messages | tojson }}\n{{ tools | tojson(indent=4) }}\n{{ 'é<' | tojson }}{{ messages[2] | tojson(ensure_ascii=true) }}{{ messages[2] | tojson(separators=(',',':')) }}{{ messages[2]|tojson(sort_keys=true) }}{{ [1.0, 1e-7, 1e16, 123456789012345678, -0.5] | tojson }}{{ {1: 2}|tojson }}",
"loop":"{% for m in messages %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{% if loop.index == 3 %}{% break %}{% endif %}{% if m.role == 'user' %}{% continue %}{% endif %}[{{ m['role'] }}]{% endfor %}",
"namespace":"{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% if m.role=='user' %}{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.n }}",
"trim blocks":"a\n  {% if true %}\n  b\n  {% endif %}\n  c {%- if true %} d {% endif -%}  e\n  {# comment #}\n  f\n{{ 'x' }}\ng\n",
"generation":"{% for m in messages %}{% if m.role == 'assistant' %}{%- generation -%}\n {{ m.content }} \n{%- endgeneration -%}{% else %}\n  {% generation %}\n  x{{ m.content }}\n  {% endgeneration %}\n{% endif %}{% endfor %}",
"macro":"{% macro t(x, y='d') %}<{{ x }}{{ y }}>{% endmacro %}{{ t(1) }}{{ t('a', y=2) }}{% set z %}cap{{ t(3) }}{% endset %}{{ z|upper }}",
"filters":"{{ messages|map(attribute='role')|join(',') }}|{{ messages|selectattr('role','equalto','user')|list|length }}|{{ messages|rejectattr('role','equalto','user')|map(attribute='content')|first }}|{{ messages[0]|items|list }}|{{ messages[0]|dictsort }}|{{ 'a b'|capitalize }}|{{ [3,1,2]|sort }}|{{ [1,2,3]|last }}|{{ 'x'|default('y') }}{{ nope|default('y') }}{{ ''|default('z', true) }}|{{ ' x '|trim }}|{{ 'abc'|length }}|{{ [1,1,2]|unique|list }}|{{ '12'|int + 1 }}|{{ 1.7|int }}|{{ 3|string ~ 'a' }}|{{ ['b','a']|reverse|list }}|{{ 'a<b'|e }}|{{ 'x'|safe }}|{{ [1,2]|sum }}|{{ 'a\nb'|indent(2) }}|{{ 3.14159|round(2) }}|{{ range(3)|list }}|{{ [[1,2],[3]]|map('length')|list }}|{{ [1,2,3,4]|select('odd')|list }}|{{ 'abc'|batch(2)|list }}|{{ [1,2,3]|max }}|{{ messages|map('tojson')|join('; ') }}|{{ 'abc'|list }}",
"tests":"{{ messages is iterable }}{{ 'a' is string }}{{ messages[0] is mapping }}{{ messages[0].nope is defined }}{{ messages[0].nope is none }}{{ 1 is number }}{{ messages is sequence }}{{ 'a' is sequence }}{{ 1.5 is integer }}{{ true is boolean }}{{ none is none }}{{ 'a' in 'abc' }}{{ 'role' in messages[0] }}{{ 'x' not in messages[0] }}{{ 3 is odd }}{{ true is true }}{{ 'a' is eq 'a' }}{{ 1 is divisibleby 2}}{{ tools is not none }}{{ false is false }}{{ 'A' is upper }}{{ messages[0].content is not string }}",
"dict":"{{ messages[0].get('nope', 'd') }}{{ messages[0].get('nope') }}{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].keys()|list }}{{ messages[0].values()|list }}{{ dict(a=1) }}{{ dict(a=1).a }}",
"slices":"{{ messages[1:]|length }}{{ messages[-1].content }}{{ messages[:-1]|length }}{{ messages[::-1][0].role }}{{ messages[1:3]|map(attribute='role')|list }}",
"undefined":"[{{ messages[0].nope }}][{{ nope }}][{% for x in nope %}{{ x }}{% endfor %}][{{ nope is defined }}][{{ 'y' if nope else 'n' }}][{{ none.a }}][{{ messages[99] }}][{{ nope|length }}][{{ messages[0]['x'] is not defined }}][{{ nope ~ 'a' }}][{{ nope == none }}]",
"inline":"{{ 'a' if false }}|{{ (1 if true else 2) }}|{{ 1 == 1.0 }}|{{ 'a' < 'b' }}|{{ [1] + [2] }}|{{ not none }}|{{ 1 and 2 }}|{{ 0 or 'x' }}|{{ '' or none }}|{{ 'a' 'b' }}|{{ 1 < 2 < 3 }}|{{ [x for x in []] if false else 'k' }}" ,
"prev":"{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ loop.nextitem.role if loop.nextitem is defined else '-' }};{{ loop.length }}{{ loop.revindex }}{{ loop.cycle('a','b') }}{% else %}none{% endfor %}",
"filter cond":"{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content|trim }}{% endfor %}{% for k in [] %}x{% else %}empty{% endfor %}",
"scope":"{% set x = 1 %}{% for i in [1,2] %}{% set x = i %}{% endfor %}{{ x }}{% if true %}{% set x = 5 %}{% endif %}{{ x }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% with c=3 %}{{ c }}{% endwith %}{{ c }}",
"raw":"{% raw %}{{ x }}{% generation %}{% endraw %}{{ '{{' }}{{- ' a ' -}} b",
"call filter":"{% filter upper %}abc{% endfilter %}{% call(x) mm() %}{{ x }}{% endcall %}{% macro mm() %}[{{ caller(1) }}]{% endmacro %}",
"vars":"{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ enable_thinking }}{{ documents }}{{ date }}{{ tools[0].function.name }}",
"raise":"line1\n{% if true %}\n{{ raise_exception('Roles must alternate <user>!') }}{% endif %}",
"syntax error":"a\nb\n{% if %}",
"type error":"x\n{{ 'a' + 1 }}",
"attr undefined":"a\n{{ nope.x }}",
"unknown filter":"{{ 'a'|nofilter }}",
"mutate":"{{ messages.append(1) }}",
"strftime":"{{ strftime_now('%%Q')|length > 0 }}",
"nested quote":"{{ messages[0].content|replace(\"'\", '\"') }}",
"multi ns":"{% set ns = namespace(a=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + [i] %}{% endfor %}{{ ns.a }}",
"keys order":"{% for k in tools[0].function %}{{ k }},{% endfor %}{{ tools[0].function.parameters.properties|length }}",
"int str":"{{ 1|string + 'a' }}{{ '5'|int(0) }}{{ '1.5'|float }}{{ 2|float }}{{ 1_000 }}{{ 10|abs }}",
"string escapes":"{{ 'a\\\nb' }}|{{ 'tab\\tq\\'q\\u00e9\\x41\\\\' }}|{{ \"multi\nline\" }}|{{ 'a\\dx' }}",
"split limit":"{{ 'a</think>b</think>c'.split('</think>', 1)[1] }}{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}{{ 'abc'[-2:] }}{{ (messages[0].role == 'user') != (0 % 2 == 0) }}{% set out = messages[0]|tojson %}{{ out[:-1] }}{% for k, v in tools[0].function.items() if k != 'name' %}{{ k }}{{ '' if loop.last else ', ' }}{% endfor %}{{ messages[2] == messages[-2] }}{% if not nope is defined %}{% set nope = none %}{% endif %}[{{ nope }}]",
"macro in order":"{%- macro visible(content) -%}{%- if content is string -%}{{- content }}{%- elif content is iterable and content is not mapping -%}{%- for item in content -%}{{ item.text }}{%- endfor -%}{%- else -%}{{- content }}{%- endif -%}{%- endmacro -%}{%- for m in messages -%}{{ visible(m.content) }}{{ visible([{'text': 'x'}]) }}{%- endfor -%}{{ visible(messages[2].tool_calls[0].function.arguments.x) }}",
"quoted delimiters":"{{- '}}' }}{% if '%}' == '%}' %}\"a\\\nb\"{% endif %}{# it's {% generation %} #}{{ '{% generation %}' }}{ {{ 'x\\\ny' -}} \n z","raise after joined lines":"{{ 'a\\\nb' }}\n{{ raise_exception('third line') }}",
"content list":"{% set c = [{'type':'text','text':'hi'},{'type':'image'}] %}{% for p in c %}{% if p['type']=='text' %}{{ p['text'] }}{% elif p.type == 'image' %}<image>{% endif %}{% endfor %}",
}
out=[]
for name,t in C.items():
    if name=="inline": t=t.replace("|{{ [x for x in []] if false else 'k' }}","")
    kw=dict(bos_token="<s>",eos_token="</s>",enable_thinking=False,date="26 Jul 2024")
    e={"name":name,"template":t,"variables":kw,"messages":M,"tools":T,"add_generation_prompt":True}
    try: e["rendered"]=render_jinja_template(conversations=[M],tools=T,chat_template=t,add_generation_prompt=True,**kw)[0][0]
    except Exception as x: e["error"]=type(x).__name__; e["error_message"]=str(x)
    out.append(e)
Path(__file__).with_suffix(".json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")
