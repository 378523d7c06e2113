"""Chinese words for the classes and concepts of the embedded world, by their English."""

from __future__ import annotations

from collections.abc import Mapping

# Classes and concepts of `pellucid.world.vocabulary`.
WORLD: Mapping[str, str] = {
    "airliner": "客机", "helicopter": "直升机", "sailboat": "帆船", "cargo ship": "货船", "car": "汽车", "truck": "卡车",
    "bicycle": "自行车", "bird": "鸟", "fish": "鱼", "house": "房屋", "sky": "天空", "open sea": "海面",
    "underwater": "水下", "road": "道路", "city": "城市", "forest": "森林", "desert": "沙漠", "snow": "雪地", "cloud": "云",
    "sun": "太阳", "water": "水", "tree": "树", "building": "楼房", "grass": "草地", "sand": "沙地", "air": "空气",
    "road surface": "路面", "snow cover": "积雪", "mountain": "山", "rock": "岩石", "plant": "植物", "post": "柱子",
    "wheel": "车轮", "window": "窗", "wing": "翼", "tail": "尾部", "hull": "船体", "door": "门", "fin": "鳍", "eye": "眼睛",
    "sail": "帆", "mast": "桅杆", "rotor": "旋翼", "cabin": "舱室", "roof": "顶部", "fuselage": "机身", "engine": "发动机",
    "skid": "滑橇", "flag": "旗", "container": "集装箱", "chimney": "烟囱", "lamp": "灯", "bumper": "保险杠",
    "frame": "车架", "saddle": "车座", "handlebar": "车把", "pedal": "脚踏", "body": "躯干", "head": "头部", "beak": "喙",
    "leg": "腿", "mouth": "嘴", "wall": "墙", "metal": "金属", "wood": "木材", "glass": "玻璃", "fabric": "织物",
    "feather": "羽毛", "stone": "石材", "solid": "纯色", "striped": "条纹", "dotted": "圆点", "checked": "方格",
    "zigzag": "锯齿纹", "grid": "网格", "black": "黑色", "blue": "蓝色", "brown": "棕色", "gray": "灰色", "green": "绿色",
    "orange": "橙色", "pink": "粉色", "purple": "紫色", "red": "红色", "white": "白色", "yellow": "黄色",
}  # fmt: skip
