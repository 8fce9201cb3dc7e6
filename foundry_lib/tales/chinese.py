"""The Chinese tales, a sister of the English ones: the same rules, with 量词, 口诀, 对仗, 接龙."""

from .grammar import Grammar, words

SHE = words("小红 阿兰 小雪 春花 月月 小燕 丽丽 秀秀 小梅 晶晶")
HE = words("小明 大牛 阿强 小龙 石头 小虎 阿福 东东 小刚 冬冬")
PETS = words("咪咪 旺旺 咩咩 灰灰")


def by_gender(she, he, it):
    return dict.fromkeys(SHE, she) | dict.fromkeys(HE, he) | dict.fromkeys(PETS, it)


# animal, its home, its food
ANIMALS = words("""
狐狸 山洞 浆果 | 鸭子 池塘 面包 | 老鼠 粮仓 奶酪 | 黑熊 山洞 蜂蜜 | 白兔 草地 萝卜 | 青蛙 池塘 飞虫 |
松鼠 树林 松果 | 骏马 马棚 苹果 | 奶牛 草地 青草 | 母鸡 院子 玉米 | 花猪 院子 南瓜 | 绵羊 草地 野菊 |
灰狼 树林 骨头 | 刺猬 树林 红枣 | 鼹鼠 地洞 蚯蚓 | 喜鹊 树林 飞虫 | 花猫 粮仓 小鱼 | 黄狗 院子 骨头 |
毛驴 马棚 青草 | 大雁 湖边 谷粒 | 河狸 河湾 树皮 | 海豹 海边 小鱼 | 鲸鱼 海边 小虾 | 螃蟹 海边 水草 |
蜥蜴 沙漠 飞虫 | 骆驼 沙漠 野菊 | 猴子 树林 香蕉 | 老虎 山洞 羊腿 | 熊猫 竹林 竹笋 | 树懒 树林 树叶 |
狮子 沙漠 羊腿 | 蜗牛 菜园 白菜 | 蜜蜂 花园 花蜜 | 马蜂 花园 果酱 | 蛾子 阁楼 毛线 | 蜘蛛 阁楼 飞虫 |
蝙蝠 山洞 果酱 | 乌鸦 高塔 面包 | 鸽子 高塔 豌豆 | 麻雀 院子 谷粒 | 天鹅 湖边 水草 | 白鹭 河湾 小鱼 |
梅鹿 树林 树皮 | 野猪 树林 红薯 | 野兔 菜园 萝卜 | 小马 马棚 红薯 | 仓鼠 粮仓 瓜子 | 火鸡 院子 浆果 |
孔雀 花园 瓜子 | 企鹅 冰山 小虾 | 海象 冰山 贝壳 | 飞龙 火山 辣椒 | 山妖 沼泽 果酱 | 水怪 沼泽 贝壳 |
蟾蜍 沼泽 蚯蚓 | 蜻蜓 池塘 花蜜 | 鹦鹉 花园 玉米 | 山羊 山洞 树叶 | 水牛 河湾 青草 | 田鼠 地洞 豌豆
""")
HOMES = {animal: home for animal, home, _ in map(str.split, ANIMALS)}
FOODS = {animal: food for animal, _, food in map(str.split, ANIMALS)}

CLASSIFIERS = {
    "雨伞": "把", "围巾": "条", "画册": "本", "玫瑰": "朵", "地图": "张", "马车": "辆",
    "家书": "封", "手表": "块", "木椅": "把", "毛毯": "条", "日记": "本", "蘑菇": "朵",
    "书桌": "张", "板车": "辆", "请帖": "封", "饼干": "块", "剪刀": "把", "鲤鱼": "条",
    "字典": "本", "牡丹": "朵", "木床": "张", "推车": "辆", "梳子": "把", "裤子": "条",
}  # fmt: skip

GRAMMAR = Grammar(
    language="zh",
    spaced=False,
    lists={
        "heroes": "小明 小红 大牛 阿兰 阿强 小雪 小龙 春花 石头 月月 小虎 小燕",
        "friends": "阿福 丽丽 咪咪 东东 秀秀 旺旺 小刚 小梅 咩咩 冬冬 晶晶 灰灰",
        "traits": "勇敢 聪明 快乐 善良 温柔 骄傲 幸运 诚实 大胆 细心",
        "humours": "贪睡 嘴馋 害羞 固执 好奇 礼貌 吵闹 爱哭 调皮 马虎",
        "colours": "红 蓝 绿 黄 白 黑 紫 金",
        "things": "风筝 小鼓 帽子 灯笼 手套 笛子 茶壶 梯子 篮子 罗盘 水桶 被子 胡琴 镜子 枕头 勺子",
        "where": "人工智能 小镇上 | 山脚下 | 海边 | 老桥下 | 月亮背后 | 面馆楼上 | 七条河外 | 地图尽头",
        "goals": """找回丢失的星星 | 叫醒沉睡的巨人 | 赢得赛跑 | 逗笑忧愁的国王 | 追上逃跑的月亮 | 烤出最大的饼 |
            拜访 人工智能 | 修好古老的大钟 | 驯服小飞龙 | 学会 深度学习 | 渡过银色大海 | 画满最高的墙""",
        "patrons": "镇长 公主 花匠 灯塔 北风 钟表匠 外婆 月亮",
        "casters": "老奶奶 鹦鹉 乞丐 幽灵 稻草人 茶壶精 美人鱼 和尚",
        "syllables": "巴 嘟 咕 啦 哩 嘛 喵 哞 呐 啪 嗒 唏 呀 咦 吱 呼",
        "troubles": "城门锁着 巨人拦路 天黑了 大雾来了 没人认路 雷声滚滚 四周静悄悄",
        "folk": "面包师 磨坊主 裁缝 铁匠 画家 水手 农夫 乐师 女王 巫师 法官 船长",
        "gifts": "书信 蛋糕 戒指 图纸 钥匙 王冠 闹钟 古书",
        "did": "擦亮了 弄丢过 藏起了 摇了摇 洗干净 抱紧了 举起了 闻了闻 修好了 拍了拍 亲了亲 画过",
        "how": "笑了起来 唱起了歌 打了个喷嚏 一夜没睡 心里很甜 叹了口气 跳起了舞 像个英雄 淋着雨 红了脸",
        "moods": "孤单 打喷嚏 满身泥 博学 想家 傻笑 疲倦 时髦",
        "animals": HOMES,
        "places": "磨坊 水井 橡树 寺庙 客栈 集市 铁铺 面馆 风车 果园 石像 渡口 学堂 喷泉 戏台 城门",
        "nouns": CLASSIFIERS,
        "sights": "大树 小河 石桥 草房 高墙 山坡",
        "near": "旁边 后面 前面 对面",
        "fruit": "梨 桃子 李子 包子 橘子 柿子 饺子 核桃",
        "numbers": "一 两 三 四 五 六 七 八 九 十",
        "many": "四 五 三 六 七",
        "few": "两 三 一 四",
        "everyone": "大家 半个镇子 连鱼儿都 所有客人",
        "joys": "跳舞到天亮 马上睡着了 笑了整整七天 吃多了蛋糕 高声欢呼 唱着歌回家 脸红了",
    },
    tables={
        "he": by_gender("她", "他", "它"),
        "his": by_gender("她的", "他的", "它的"),
        "home": HOMES,
        "food": FOODS,
        "cl": CLASSIFIERS,
    },
    rules={
        "pronoun": "he his",
        "agreement": "cl",
        "recall": "A B goal",
        "binding": "name colour thing",
        "spell": "z",
        "mirror": "p",
        "gift": "j g",
        "fact": "home food",
    },
    phrases={
        "new A": "{A=traits} 的 {A.name=heroes}",
        "new B": "{B=humours} 的 {B.name=friends/A.name}",
        "new thing of A": "{A.name~his} {A.colour=colours} {A.thing=things/A.name}",
        "new thing of B": "{B.name~his} {B.colour=colours} {B.thing=things/B.name}",
        "X": "{X=A|B} 的 {X.name}",
        "Y": "{Y!X} 的 {Y.name}",
        "X's thing": "{X.name~his} {X.colour} {X.thing}",
        "Y's thing": "{Y.name~his} {Y.colour} {Y.thing}",
        "new spell": "{z1=syllables} {z2>z1} {z3>z2} {z4>z3}",
        "spell": "{z1} {z2} {z3} {z4}",
        "place 1": "{s1=sights} {near1=near}",
        "place 2": "{s2=sights} {near2=near}",
    },
    scenes={
        "hero": [
            "{where=where} 住着 <new A> 和 <new thing of A> 。",
            "从前 有个 <new A> 和 <new thing of A> 。",
            "深度学习 学校 里 来了 <new A> 和 <new thing of A> 。",
        ],
        "friend": [
            "{A.name~his} 朋友 <new B> 总 带着 <new thing of B> 。",
            "隔壁 住着 <new B> 和 <new thing of B> 。",
            "山下 睡着 <new B> 和 <new thing of B> 。",
        ],
        "quest": [
            "<X> 说 ： 我们 去 {goal=goals} 吧 ！ 大家 都 想 {goal} 。",
            "{patron=patrons} 请 他们 {goal=goals} ， 他们 答应 去 {goal} 。",
            "他们 一直 想 {goal=goals} ， 做梦 也 想 {goal} 。",
        ],
        "pack": [
            "于是 <X> 带上 <X's thing> ， <Y> 带上 <Y's thing> 。",
            "<X> 背起 <X's thing> ， <Y> 背起 <Y's thing> 。",
        ],
        "path": [
            "去 时 路过 {p1=places} 、 {p2>p1} 和 {p3>p2} ， 回来 路过 {p3} 、 {p2} 和 {p1} 。",
            "一路 走过 {p1=places} 、 {p2>p1} 和 {p3>p2} ， 又 从 {p3} 、 {p2} 和 {p1} 走 回来 。",
        ],
        "spell": [
            "{caster=casters} 念 口诀 ： <new spell> ， 他们 跟着 念 ： <spell> 。",
            "墙上 写着 <new spell> ， 他们 一起 念 ： <spell> 。",
        ],
        "gift": [
            "<X> 把 {g=gifts} 送给 {j1=folk} ， {j1} 把 {g} 送给 {j2>j1} ， {j2} 收下了 。",
            "{j2=folk} 的 {g=gifts} 是 {j1>j2} 给的 ， {j1} 的 {g} 是 <X> 给的 ， {j2} 收下了 。",
        ],
        "things": [
            "<X> {d=did} <X's thing> ， {h=how} 。",
            "<X> 找不到 <X's thing> ， <Y> 找到了 。",
            "<X> 冷了 ， <Y> 借给 {X.name~he} <Y's thing> 。",
        ],
        "animal": [
            "他们 遇见 {mood=moods} 的 {a=animals} ， 它 从 {a~home} 来 ， 爱 吃 {a~food} 。",
            "只见 {mood=moods} 的 {a=animals} 从 {a~home} 跑来 ， 讨 {a~food} 吃 。",
        ],
        "sum": [
            "<X> 买了 {n=many} 个 {f=fruit} ， 吃了 {m<n} 个 ， 剩 {n-m} 个 。",
            "<X> 摘了 {k=few} 个 {f=fruit} ， 又 摘 {l=few} 个 ， 共 {k+l} 个 。",
        ],
        "flock": [
            "他们 想要 {n1=nouns} ， 在 <place 1> 找到 一 {n1~cl} 。",
            "他们 想要 {n1=nouns} ， 找到 一 {n1~cl} 。",
            "他们 想要 {n1=nouns} ， 在 <place 1> 的 <place 2> 找到 一 {n1~cl} 。",
        ],
        "ask": [
            "他们 向 {j2} 要回 {g} 。",
            "中午 {j2} 还来 {g} 。",
        ],
        "chant": [
            "{trouble=troubles} ， 他们 念 ： <spell> 。",
        ],
        "end": [
            "最后 他们 真的 {goal} 了 ， <X> 抱着 <X's thing> {joy=joys} 。",
            "就这样 ， <X> 和 <Y> {goal} 了 ， {all=everyone} {joy=joys} 。",
        ],
    },
    messages={
        "rule": "第{sentence}句里{expected}变成了{found}（规则：{rule}）",
        "binding": "第{sentence}句里{expected}变成了{found}",
        "pronoun": "第{sentence}句里代词应是{expected}，不是{found}",
        "agreement": "第{sentence}句里量词应是{expected}，不是{found}",
        "recall": "第{sentence}句里应是{expected}，不是{found}",
        "spell": "第{sentence}句里口诀应念{expected}，不是{found}",
        "mirror": "第{sentence}句里回来应路过{expected}，不是{found}",
        "sum": "第{sentence}句里应得{expected}，不是{found}",
        "gift": "第{sentence}句里礼物应是{expected}，不是{found}",
        "fact": "第{sentence}句里这种动物应配{expected}，不是{found}",
        "grammar": "第{sentence}句里“{before}”后面不能接“{found}”，可以接{options}",
        "begin": "故事不会以“{found}”开头，可以用{options}开头",
        "unfinished": "故事停在第{sentence}句，还没有讲完",
        "more": "故事已经讲完，后面却还有“{found}”",
        "valid": "这是一个故事",
    },
)
